"""Levels whose sizes were rounded down: what is damaged at their edge is read from the finer level, up to the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import picture
from test_slide_geometry import slide_and_reader, slide_of


@pytest.mark.integration
@given(st.integers(20, 70), st.integers(20, 70), st.sampled_from([2.0, 3.0, 4.0, 6.5]), st.sampled_from([2, 3, 4]))
@settings(max_examples=80, deadline=None)
def test_a_view_of_damaged_lower_levels_is_that_of_the_first(
    height: int, width: int, downsample: float, by: int
) -> None:
    fine = picture(height, width)
    rows, cols = height // by, width // by
    coarse = fine[: rows * by, : cols * by].reshape(rows, by, cols, by, 3).mean((1, 3)).astype(np.uint8)
    slide, reader = slide_and_reader(fine, coarse)
    reader.broken = {(1, row, col) for row in range(-(-rows // 16)) for col in range(-(-cols // 16))}
    view = slide.scan_view(downsample)
    assert view.problem is None and np.array_equal(view.pixels, slide_of(fine).read_view(downsample))
