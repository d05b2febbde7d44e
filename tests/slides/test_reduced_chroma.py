"""JPEG decoded at a part of its size is the mean of its pixels, however its chroma is stored."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ats_cli.slides import open_slide
from ats_cli.slides.pixels.jpeg import REDUCTIONS, JpegColours, decode_jpeg

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"
SIDE = 256


@pytest.fixture(scope="module")
def tissue() -> NDArray[np.uint8]:
    with open_slide(EXAMPLE) as slide:
        return slide.read_view(1)[600:1624, 600:1624]


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 768), st.integers(0, 768), st.sampled_from(REDUCTIONS))
def test_chroma_of_half_a_side_is_no_coarser_than_the_pixels(
    tissue: NDArray[np.uint8], x: int, y: int, by: int
) -> None:
    """4:2:2, as many scanners write it: about a grey level from the block means of the whole decode, on real tissue.

    Decoded by libjpeg at that size, it is two to four grey levels off.
    """
    content = io.BytesIO()
    Image.fromarray(tissue[y : y + SIDE, x : x + SIDE]).save(content, "JPEG", quality=90, subsampling=1)
    whole = decode_jpeg(content.getvalue(), None, JpegColours())
    means = whole.reshape(SIDE // by, by, SIDE // by, by, 3).mean((1, 3))
    reduced = decode_jpeg(content.getvalue(), None, JpegColours(), by)
    assert np.abs(reduced - means).mean() < 1.3
