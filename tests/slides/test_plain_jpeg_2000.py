"""Plain JPEG 2000 images: one that is cut short is damage, also where its decoder fills up the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import check_slide, open_slide

SIDES = st.integers(3, 150)


@pytest.mark.integration
@given(SIDES, SIDES, st.booleans(), st.floats(0.5, 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_that_ends_early_is_damage(tmp_path: Path, height: int, width: int, grey: bool, share: float) -> None:
    pixels = picture(height, width)
    path = tmp_path / "image.jp2"
    Image.fromarray(pixels[..., 0] if grey else pixels).save(path, quality_mode="dB", quality_layers=[45])
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_view(1), np.asarray(Image.open(path).convert("RGB")))
        assert check_slide(slide).sound
    content = path.read_bytes()
    start = content.index(b"\xff\x93")
    path.write_bytes(content[: start + 2 + int(share * (len(content) - start - 3))])
    with open_slide(path) as slide:
        assert not check_slide(slide).sound
        with pytest.raises(SlideError, match="damaged or cut short"):
            slide.read_view(1)
