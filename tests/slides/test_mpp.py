"""Microns per pixel: where they are taken from, in what order, and what is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from slide_pictures import FAULTS, picture

from ats_cli.errors import SlideError
from ats_cli.slides import Slide, open_slide
from ats_cli.slides.formats.stated_number import stated_number


def slide_with(folder: Path, **options: Any) -> Slide:
    path = folder / ("a.ome.tif" if "metadata" in options and not options.get("imagej") else "a.tif")
    tifffile.imwrite(path, picture(32, 48), photometric="rgb", tile=(16, 16) if not options.get("imagej") else None,
                     **{"metadata": None, **options})  # fmt: skip
    return open_slide(path)


def ome(x: float, y: float, x_unit: str = "µm", y_unit: str = "µm") -> dict[str, Any]:
    sizes = {"PhysicalSizeX": x, "PhysicalSizeXUnit": x_unit, "PhysicalSizeY": y, "PhysicalSizeYUnit": y_unit}
    return {"metadata": {"axes": "YXS", **sizes}}


def aperio(fields: str) -> dict[str, Any]:
    return {"description": f"Aperio Image Library v11\r\n48x32 (16x16) RAW|{fields}"}


def resolution(x: float, y: float, unit: str) -> dict[str, Any]:
    return {"resolution": (x, y), "resolutionunit": unit}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "mpp", "source"),
    [
        (ome(0.25, 0.25), 0.25, "ome"),
        (ome(250, 0.00025, "nm", "mm"), 0.25, "ome"),
        (ome(0.24, 0.26), 0.25, "ome"),
        (ome(0.25, 0.25) | resolution(10_000, 10_000, "CENTIMETER"), 0.25, "ome"),
        (ome(0.25, 0.25, "pixel", "pixel"), None, None),
        (ome(0.25, 0.25, "reference frame", "reference frame"), None, None),
        (ome(0.0, 0.0), None, None),
        (ome(1, 1, "pixel", "pixel") | resolution(20_000, 20_000, "CENTIMETER"), 0.5, "tiff resolution"),
        (aperio("AppMag = 20|MPP = 0.4990"), 0.499, "aperio description"),
        (aperio("AppMag = 40|MPP = 0,2631"), 0.2631, "aperio description"),
        (aperio("MPP = 1.2.3|AppMag = 40,000000"), 0.25, "objective power"),
        (aperio("MPP = 0.2|AppMag = 40") | resolution(10_000, 10_000, "CENTIMETER"), 0.2, "aperio description"),
        (aperio("AppMag = 40|MPP = ?"), 0.25, "objective power"),
        (aperio("AppMag = 40|MPP = 0"), 0.25, "objective power"),
        (aperio("AppMag = 40") | resolution(30_000, 30_000, "CENTIMETER"), 1 / 3, "tiff resolution"),
        (aperio("AppMag = 33"), None, None),
        (resolution(40_000, 40_000, "CENTIMETER"), 0.25, "tiff resolution"),
        (resolution(50_800, 50_800, "INCH"), 0.5, "tiff resolution"),
        (resolution(72, 72, "INCH"), None, None),
        (resolution(300, 300, "INCH"), None, None),
        (resolution(96, 96, "CENTIMETER"), None, None),
        (resolution(4_000_000, 4_000_000, "CENTIMETER"), None, None),
        (resolution(4, 4, "NONE"), None, None),
        ({"imagej": True, "metadata": {"unit": "um"}} | {"resolution": (4, 4)}, 0.25, "imagej"),
        ({"imagej": True, "metadata": {"unit": "micron"}} | {"resolution": (2, 2)}, 0.5, "imagej"),
        ({"imagej": True, "metadata": {"unit": "\\u00B5m"}} | {"resolution": (2, 2)}, 0.5, "imagej"),
        ({"imagej": True, "metadata": {"unit": "mm"}} | {"resolution": (1000, 1000)}, 1.0, "imagej"),
        ({"imagej": True, "metadata": {"unit": "pixel"}} | {"resolution": (4, 4)}, None, None),
        ({}, None, None),
    ],
)
def test_the_first_source_that_says(tmp_path: Path, options: dict[str, Any], mpp: float, source: str) -> None:
    slide = slide_with(tmp_path, **options)
    assert (slide.mpp, slide.mpp_source) == (None if mpp is None else pytest.approx(mpp), source)
    if mpp is None:
        with pytest.raises(SlideError, match=r"no microns-per-pixel in the file\. Give --mpp 0\.25 or a column mpp"):
            slide.require_mpp()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (ome(250, 250), r"says 250 x 250 microns per pixel, which is outside 0\.05 to 20"),
        (ome(0.025, 0.025), "0.025 x 0.025"),
        (ome(0.25, 250, "µm", "nm"), None),
        (ome(0.25, 0.25, "µm", "mm"), "0.25 x 250"),
        (aperio("MPP = 49.9"), "49.9 x 49.9"),
        (aperio("MPP = -0.5"), "-0.5 x -0.5"),
        (ome(0.05, 0.05), None),
        (ome(20, 20), None),
        (ome(0.5, 0.549), None),
        (ome(0.5, 0.551), r"0\.5 microns per pixel across but 0\.551 down"),
        (resolution(20_000, 10_000, "CENTIMETER"), r"0\.5 microns per pixel across but 1 down"),
    ],
)
def test_what_is_not_believed_says_so_and_how_to_go_on(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    slide = slide_with(tmp_path, **options)
    if says is None:
        assert slide.require_mpp() == slide.mpp
        return
    assert slide.mpp is None and slide.mpp_source is None
    with pytest.raises(SlideError, match=rf"^a.*{says}.*Give --mpp 0\.25 or a column mpp in the manifest\.$"):
        slide.require_mpp()
    given = open_slide(slide.path, mpp=0.3)
    assert (given.require_mpp(), given.mpp_source) == (0.3, "given")


def test_microns_of_real_files(data: Path) -> None:
    assert open_slide(data / "qupath-cells" / "cells.tif").mpp == 0.25
    # Its tag says 0.005 microns, a hundred times too little: nobody is believed.
    assert open_slide(data / "wsic-samples" / "CMU-1-Small-Region.jp2.tiff").mpp is None


@given(st.floats(0.001, 99, allow_nan=False), st.integers(0, 9))
def test_a_number_is_the_same_with_a_comma(value: float, digits: int) -> None:
    text = f"{value:.{digits}f}"
    assert stated_number(text) == stated_number(f" {text.replace('.', ',')} ") == float(text)


@pytest.mark.parametrize("text", [None, "", "?", "1,234.5", "1.234,5", "1,2,3", "0_25", "nan", "inf", "0,25 um"])
def test_what_is_no_number_for_sure_is_none(text: str | None) -> None:
    assert stated_number(text) is None


@pytest.mark.parametrize(("name", "mpp"), [("comma_mpp", 0.499), ("comma_mpp_power", 0.2631)])
@pytest.mark.parametrize("backend", ["tiff", "openslide"])
def test_a_slide_scanned_where_decimals_have_a_comma(name: str, mpp: float, backend: str) -> None:
    with open_slide(FAULTS / "svs-mpp-with-decimal-comma" / f"{name}.svs", backend=backend) as slide:
        assert slide.mpp == mpp and slide.mpp_source != "objective power"
