"""Bands of a JPEG 2000 image: its header says which are colours and which is opacity, and nothing else is shown."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
SETTINGS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIDES = st.integers(8, 70)


def write_jp2(path: Path, bands: NDArray[np.uint8], meanings: list[ColorInterp] | None) -> None:
    """(rows, cols, bands), by GDAL."""
    height, width, count = bands.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has no place on the earth
        with rasterio.open(path, "w", driver="JP2OpenJPEG", width=width, height=height, count=count, dtype="uint8",
                           QUALITY=100, REVERSIBLE="YES") as out:  # fmt: skip
            if meanings:
                out.colorinterp = meanings
            out.write(bands.transpose(2, 0, 1))


@pytest.mark.integration
@given(SIDES, SIDES, st.integers(1, 255))
@SETTINGS
def test_a_fourth_band_is_opacity_where_the_header_says_so(tmp_path: Path, height: int, width: int, value: int) -> None:
    """Near infrared beside red, green and blue, as multispectral cameras have it, was mixed into them."""
    path, rgb = tmp_path / "a.jp2", picture(height, width)
    bands = np.dstack([rgb, np.full((height, width), value, np.uint8)])
    write_jp2(path, bands, [*RGB, ColorInterp.undefined])
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_view(1), rgb)
    over_white = np.floor(rgb * (value / 255) + 255 * (1 - value / 255) + 0.5)
    for write in (lambda: write_jp2(path, bands, [*RGB, ColorInterp.alpha]), lambda: Image.fromarray(bands).save(path)):
        write()
        with open_slide(path) as slide:
            assert np.abs(slide.read_view(1) - over_white).max() <= 1


@given(SIDES, SIDES)
@SETTINGS
def test_a_second_band_beside_grey_is_opacity_where_the_header_says_so(tmp_path: Path, height: int, width: int) -> None:
    path, bands = tmp_path / "a.jp2", picture(height, width)[..., :2]
    write_jp2(path, np.ascontiguousarray(bands), [ColorInterp.gray, ColorInterp.undefined])
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_view(1), np.repeat(bands[..., :1], 3, axis=2))


@pytest.mark.parametrize("count", [3, 4])
def test_several_bands_that_are_called_grey_are_refused_for_what_they_are(tmp_path: Path, count: int) -> None:
    """The file is whole: to say that it is damaged sends its owner the wrong way."""
    path = tmp_path / "a.jp2"
    write_jp2(path, np.dstack([picture(40, 50)] * 2)[..., :count], None)
    with pytest.raises(SlideError, match=rf"^a\.jp2: {count} bands that its header calls grey.* Convert it to 8-bit"):
        open_slide(path)
