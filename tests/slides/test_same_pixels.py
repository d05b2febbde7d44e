"""The same picture in many containers: pixels against those of an independent reader, at random places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from ats_cli.slides import Slide, open_slide

pytestmark = pytest.mark.integration


def region(slide: Slide, level: int, box: tuple[int, int, int, int]) -> np.ndarray:
    (found,) = slide.scan_level(level, [box], 2)
    assert not found.damage
    return found.pixels.astype(int)


@pytest.mark.parametrize(
    ("file", "mean", "most"),
    [
        # The tiles of the SVS, copied as they are: not a bit may differ.
        ("wsic-samples/CMU-1-Small-Region.svs", 0, 0),
        ("wsic-samples/CMU-1-Small-Region-JPEG.zarr", 0, 0),
        ("wsic-samples/CMU-1-Small-Region", 0, 0),
        # Compressed anew, some harder than others.
        ("wsic-samples/CMU-1-Small-Region.jp2.tiff", 1.2, 80),
        ("wsic-samples/CMU-1-Small-Region.webp.tiff", 14, 160),
        ("jcupitt-dicom-wsi/cmu-1-small-region", 11, 120),
    ],
)
def test_cmu_1_in_six_containers_against_openslide(data: Path, file: str, mean: float, most: float) -> None:
    rng = np.random.default_rng(0)
    with (
        open_slide(data / file) as slide,
        openslide.OpenSlide(data / "wsic-samples" / "CMU-1-Small-Region.svs") as theirs,
    ):
        assert (slide.width, slide.height) == theirs.dimensions
        found, shifted = 0.0, np.zeros(2)
        for _ in range(30):
            x, y = int(rng.integers(1, slide.width - 160)), int(rng.integers(1, slide.height - 160))
            exact = np.asarray(theirs.read_region((x, y), 0, (150, 150)).convert("RGB")).astype(int)
            error = np.abs(region(slide, 0, (x, y, 150, 150)) - exact)
            assert error.mean() <= mean and error.max() <= most
            found += error.mean()
            # A pixel to the side fits worse.
            for i, (dx, dy) in enumerate(((1, 0), (0, 1))):
                shifted[i] += np.abs(region(slide, 0, (x + dx, y + dy, 150, 150)) - exact).mean()
        assert (shifted > found + 30).all()


CODECS: dict[str, dict[str, Any]] = {
    "jpeg": {"compression": "jpeg", "subsampling": (1, 1), "compressionargs": {"level": 95}},
    "jpeg 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "lzw": {"compression": "lzw", "predictor": True},
    "zlib": {"compression": "zlib"},
}


@pytest.mark.parametrize("codec", CODECS)
def test_the_grid_of_coordinates_at_every_level(data: Path, tmp_path: Path, codec: str) -> None:
    grid = np.asarray(Image.open(data / "wsic-samples" / "XYC.png").convert("RGB"))
    # Each level prints coordinates of its own, so that none can be taken for another.
    levels = [grid, grid[100:356, 80:336], grid[300:428, 200:328], grid[64:128, 320:384]]
    path = tmp_path / "xyc.ome.tif"
    with tifffile.TiffWriter(path) as out:
        options = {"tile": (64, 64), "photometric": "rgb", **CODECS[codec]}
        out.write(levels[0], subifds=3, metadata={"axes": "YXS"}, **options)
        for level in levels[1:]:
            out.write(level, subfiletype=1, **options)
    slide = open_slide(path)
    assert slide.reader == "tiff" and [lv.downsample for lv in slide.levels] == [1.0, 2.0, 4.0, 8.0]
    rng = np.random.default_rng(1)
    for number, level in enumerate(levels):
        side = len(level)
        for _ in range(10):
            x, y = (int(v) for v in rng.integers(0, side - 30, 2))
            error = np.abs(region(slide, number, (x, y, 30, 30)) - level[y : y + 30, x : x + 30])
            assert error.max() == 0 if codec != "jpeg" else error.mean() < 3
        downsample = 2.0**number
        (patch,) = slide.read_tiles([(32 * downsample, 0, 24 * downsample, 24 * downsample)], 24)
        assert np.abs(patch.astype(int) - level[:24, 32:56]).mean() < (3 if codec == "jpeg" else 1e-9)


@pytest.mark.parametrize("codec", ["JPEG-2000", "JPEG", "LZW", "zlib"])
def test_the_grid_as_bio_formats_writes_it(data: Path, codec: str) -> None:
    grid = np.asarray(Image.open(data / "wsic-samples" / "XYC.png").convert("RGB")).astype(int)
    name = f"XYC_-compression_{codec}_-tilex_128_-tiley_128_-pyramid-scale_2_-merge.ome.tiff"
    slide = open_slide(data / "wsic-samples" / "bfconvert" / name)
    assert slide.reader == "tiff" and slide.levels[0].tile_width == 128
    rng = np.random.default_rng(2)
    for _ in range(20):
        x, y = (int(v) for v in rng.integers(0, 512 - 60, 2))
        error = np.abs(region(slide, 0, (x, y, 60, 60)) - grid[y : y + 60, x : x + 60])
        assert error.max() == 0 if codec != "JPEG" else error.mean() < 25


def test_a_grid_without_tiles(data: Path) -> None:
    grid = np.asarray(Image.open(data / "wsic-samples" / "XYC.png").convert("RGB"))
    slide = open_slide(data / "wsic-samples" / "XYC-half-mpp.tiff")
    assert slide.reader == "tiff" and np.array_equal(slide.read_view(1), grid)


def test_strips_planes_and_numbers_as_rasterio_and_qupath_write_them(data: Path) -> None:
    for name in ("rasterio/RGB.byte.tif", "qupath-cells/cells.ome.tif", "qupath-cells/cells.tif"):
        with tifffile.TiffFile(data / name) as tiff:
            theirs = tiff.series[0].asarray()
            theirs = theirs.transpose(1, 2, 0) if tiff.series[0].axes == "SYX" else theirs
        assert np.array_equal(open_slide(data / name).read_view(1), theirs)


def test_floats_in_the_range_that_imagej_names_are_its_own_8_bits(data: Path) -> None:
    cells = data / "qupath-cells"
    eight = open_slide(cells / "cells-gray8.png").read_view(1)
    assert np.array_equal(open_slide(cells / "cells-gray32.tif").read_view(1), eight)
