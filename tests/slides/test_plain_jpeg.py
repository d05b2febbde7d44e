"""Plain JPEG images: what a decoder would fill up with grey or shifted blocks is damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide

SIDES = st.integers(33, 150)


def written(path: Path, height: int, width: int, grey: bool, progressive: bool) -> bytes:
    pixels = picture(height, width)
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    image.save(path, quality=85, restart_marker_blocks=3, progressive=progressive)
    return path.read_bytes()


@given(SIDES, SIDES, st.booleans(), st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sound_images_are_read_as_pillow_decodes_them(
    tmp_path: Path, height: int, width: int, grey: bool, progressive: bool
) -> None:
    path = tmp_path / "image.jpg"
    written(path, height, width, grey, progressive)
    assert np.array_equal(open_slide(path).read_view(1), np.asarray(Image.open(path).convert("RGB")))


@given(SIDES, SIDES, st.booleans(), st.integers(1, 7))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_restart_marker_out_of_order_is_damage(
    tmp_path: Path, height: int, width: int, grey: bool, number: int
) -> None:
    path = tmp_path / "image.jpg"
    stream = written(path, height, width, grey, progressive=False)
    at = stream.index(b"\xff\xd0", stream.index(b"\xff\xda"))
    path.write_bytes(stream[:at] + bytes([0xFF, 0xD0 + number]) + stream[at + 2 :])
    with pytest.raises(SlideError, match=r"image.jpg: the image is damaged or cut short"):
        open_slide(path).read_view(1)
