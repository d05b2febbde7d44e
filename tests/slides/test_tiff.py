"""The TIFF reader against tifffile and OpenSlide, and on files made to be awkward."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import Slide, open_slide


def tiled(path: Path, pixels: np.ndarray, **options: object) -> Path:
    options = {"tile": (32, 48), "photometric": "rgb", "metadata": None, **options}
    tifffile.imwrite(path, pixels, **options)  # type: ignore[arg-type]
    return path


def level(slide: Slide, number: int) -> np.ndarray:
    lv = slide.levels[number]
    ((pixels, _),) = slide.scan_level(number, [(0, 0, lv.width, lv.height)], 2)
    return pixels


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"bigtiff": True}])
def test_odd_sizes_and_partial_edge_tiles(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = picture(101, 131)
    slide = open_slide(tiled(tmp_path / "a.tif", pixels, **options))
    assert slide.reader == "tiff" and (slide.width, slide.height) == (131, 101)
    assert np.array_equal(level(slide, 0), pixels)
    boxes = [(100, 90, 31, 11), (0, 0, 5, 5), (47, 31, 2, 2)]
    for (x, y, w, h), (got, _) in zip(boxes, slide.scan_level(0, boxes, 3), strict=True):
        assert np.array_equal(got, pixels[y : y + h, x : x + w])


def test_subifd_pyramid_with_floored_and_fractional_levels(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.ome.tif"
    full, half, odd = picture(301, 405), picture(150, 202, 1), picture(120, 162, 2)
    thumb = picture(40, 90, 3)
    with tifffile.TiffWriter(path) as out:
        options = {"tile": (64, 64), "photometric": "rgb"}
        ome = {"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.00025}
        ome["PhysicalSizeYUnit"] = "mm"
        out.write(full, subifds=3, metadata=ome, **options)  # type: ignore[arg-type]
        for reduced in (half, odd, thumb):
            out.write(reduced, subfiletype=1, **options)  # type: ignore[arg-type]
    slide = open_slide(path)
    assert [lv.downsample for lv in slide.levels] == [2.0**0, 2.0, pytest.approx(2.504, abs=2e-3)]
    assert slide.mpp == pytest.approx(0.25) and slide.mpp_source == "ome"
    for number, pixels in enumerate((full, half, odd)):
        assert np.array_equal(level(slide, number), pixels)
    assert slide.read_at_mpp(0.5).shape == (151, 203, 3)


def test_tiles_that_the_file_leaves_out_are_white(tmp_path: Path) -> None:
    path = tiled(tmp_path / "sparse.tif", picture(64, 96), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = tiff.pages.first.tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    pixels = level(open_slide(path), 0)
    assert (pixels[:32, :48] == 255).all()
    assert np.array_equal(pixels[32:], picture(64, 96)[32:])


def test_each_native_tile_is_read_once_a_call(tmp_path: Path) -> None:
    slide = open_slide(tiled(tmp_path / "a.tif", picture(320, 480)))
    before = slide.bytes_read
    boxes = np.random.default_rng(0).uniform(0, 250, (60, 4))
    boxes[:, 2:] = 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ats_cli.slides.pixels.tile_assembly._WINDOW_BYTES", 30_000)
        list(slide.read_tiles(boxes, 40))
    under = {
        (row, col)
        for x, y, _, _ in boxes
        for row in range(int(y) // 32, (math.ceil(y + 40) - 1) // 32 + 1)
        for col in range(int(x) // 48, (math.ceil(x + 40) - 1) // 48 + 1)
    }
    assert len(under) > 20
    assert before is not None and slide.bytes_read == before + len(under) * 32 * 48 * 3


def test_no_file_stays_open(tmp_path: Path) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("no /proc here")
    path = tiled(tmp_path / "a.tif", picture(64, 96))
    before = len(list(open_files.iterdir()))
    slide = open_slide(path)
    slide.read_view(2)
    assert len(list(open_files.iterdir())) == before


def test_alpha_is_seen_on_white_and_grey_is_grey(tmp_path: Path) -> None:
    rgb = picture(64, 96)
    alpha = np.zeros((64, 96, 1), np.uint8)
    alpha[:, 48:] = 255
    slide = open_slide(tiled(tmp_path / "a.tif", np.concatenate([rgb, alpha], 2), extrasamples=["unassalpha"]))
    assert (level(slide, 0)[:, :48] == 255).all() and np.array_equal(level(slide, 0)[:, 48:], rgb[:, 48:])
    grey = tiled(tmp_path / "g.tif", rgb[..., 0], photometric="minisblack")
    assert np.array_equal(level(open_slide(grey), 0), np.repeat(rgb[..., :1], 3, 2))
    dark = tiled(tmp_path / "w.tif", rgb[..., 0], photometric="miniswhite")
    assert np.array_equal(level(open_slide(dark), 0), 255 - np.repeat(rgb[..., :1], 3, 2))


@pytest.mark.parametrize(
    ("pixels", "options", "says"),
    [
        (picture(64, 96).astype(np.uint16), {}, "type uint16"),
        (picture(64, 96).astype(np.float32), {}, "type float32"),
        (np.zeros((5, 64, 96), np.uint8), {"photometric": "minisblack"}, "5 channels"),
        (np.zeros((2, 64, 96), np.uint8), {"photometric": "minisblack", "metadata": {"axes": "CYX"}}, "2 channels"),
        (np.zeros((64, 96, 4), np.uint8), {"photometric": "separated"}, "colours of kind separated"),
    ],
)
def test_what_would_come_out_wrong_is_refused(tmp_path: Path, pixels, options, says) -> None:  # type: ignore[no-untyped-def]
    path = tiled(tmp_path / "x.ome.tif", pixels, **options)
    for backend in (None, "tiff", "image"):
        with pytest.raises(SlideError, match=rf"^x\.ome\.tif: .*{says}"):
            open_slide(path, backend=backend)


def test_a_file_cut_short_is_a_sentence_with_the_place(tmp_path: Path) -> None:
    # The index comes first in the file, so that only the last tiles are lost.
    path = tiled(tmp_path / "cut.tif", picture(320, 480))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 5000])
    slide = open_slide(path)
    assert len(list(slide.read_tiles([(0, 0, 32, 32)], 32))) == 1
    with pytest.raises(SlideError, match=r"^cut\.tif: tile at x 432, y 288 of level 0 .*ends too soon"):
        list(slide.read_tiles([(440, 290, 30, 30)], 30))


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [((40000, 40000), "CENTIMETER", 0.25), ((72, 72), "INCH", None), ((50800, 50800), "INCH", 0.5)],
)
def test_resolution_tags_count_only_when_sane(tmp_path: Path, resolution, unit, mpp) -> None:  # type: ignore[no-untyped-def]
    slide = open_slide(tiled(tmp_path / "a.tif", picture(64, 96), resolution=resolution, resolutionunit=unit))
    assert slide.mpp == (None if mpp is None else pytest.approx(mpp))
    assert slide.mpp_source == (None if mpp is None else "tiff resolution")


def test_aperio_without_mpp_falls_back_on_the_objective(tmp_path: Path) -> None:
    path = tiled(tmp_path / "a.svs", picture(64, 96), description="Aperio Image\nlines |AppMag = 40|Left = 3")
    slide = open_slide(path)
    assert (slide.reader, slide.mpp, slide.mpp_source) == ("tiff", 0.25, "objective power")
    assert slide.properties["aperio.Left"] == "3"


@pytest.mark.integration
def test_the_same_pixels_as_openslide(data: Path) -> None:
    path = data / "wsic-samples" / "CMU-1-Small-Region.svs"
    slide = open_slide(path, backend="tiff")
    assert slide.mpp == 0.499
    theirs = np.asarray(openslide.OpenSlide(path).read_region((0, 0), 0, (slide.width, slide.height)))[..., :3]
    assert np.array_equal(level(slide, 0), theirs)


@pytest.mark.integration
def test_the_same_pixels_as_tifffile(data: Path) -> None:
    for path in (data / "histolab" / "tcga-cr-7395-01a-01-ts1.svs", data / "large_image" / "yb10kx5k.zstd.tiff"):
        slide = open_slide(path, backend="tiff")
        with tifffile.TiffFile(path) as tiff:
            for number in range(1, len(slide.levels)):
                assert np.array_equal(level(slide, number), tiff.series[0].levels[number].asarray())


def test_the_coordinate_grid_in_every_container(data: Path) -> None:
    samples = data / "wsic-samples"
    grid = open_slide(samples / "XYC.png").read_view(1)
    for path in (samples / "bfconvert").glob("*.ome.tiff"):
        slide = open_slide(path)
        assert slide.reader == "tiff" and slide.vendor == "ome"
        if "_JPEG_" in path.name:  # lossy, and its chroma is halved: right on the whole only
            assert np.abs(slide.read_view(8).astype(float) - open_slide(samples / "XYC.png").read_view(8)).mean() < 3
        else:
            assert np.array_equal(slide.read_view(1), grid)
