"""Tiles that a TIFF leaves out, at any level: read from a finer level, and white only where no finer level has them."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import FAULTS, picture

from ats_cli.slides import Slide, check_slide, open_slide

TILE = 16


def means(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    return pixels.reshape(height // side, side, width // side, side, 3).mean((1, 3))


def write(path: Path, levels: list[np.ndarray], held: list[np.ndarray], **options: object) -> Path:
    """A pyramid of zlib tiles, of which those that are not `held`, (rows, cols) bool, are left out."""
    with tifffile.TiffWriter(path) as out:
        for number, (pixels, there) in enumerate(zip(levels, held, strict=True)):
            grid = np.argwhere(np.ones_like(there)) * TILE
            tiles = [
                zlib.compress(np.ascontiguousarray(pixels[y : y + TILE, x : x + TILE]).tobytes()) if one else b""
                for (y, x), one in zip(grid, there.ravel(), strict=True)
            ]
            out.write(
                iter(tiles), shape=pixels.shape, dtype=np.uint8, tile=(TILE, TILE), photometric="rgb",
                compression="zlib", metadata=None, subfiletype=int(number > 0), **options,
            )  # fmt: skip
    return path


@pytest.mark.integration
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6), st.integers(1, 8))
def test_a_view_is_the_mean_of_level_0_whatever_is_left_out_below(
    down: int, across: int, lacking: float, lacking_below: float, seed: int, orientation: int
) -> None:
    rng = np.random.default_rng(seed)
    finest = picture(4 * TILE * down, 4 * TILE * across, seed)
    held = [rng.random((4 * down, 4 * across)) >= lacking]
    finest[~held[0].repeat(TILE, 0).repeat(TILE, 1)] = 255
    levels = [finest, *((means(finest, side) + 0.5).astype(np.uint8) for side in (2, 4))]
    held += [rng.random((4 // side * down, 4 // side * across)) >= lacking_below for side in (2, 4)]
    with tempfile.TemporaryDirectory() as folder:
        extra = [(274, "H", 1, orientation, True)] if orientation != 1 else []
        path = write(Path(folder) / "a.tif", levels, held, extratags=extra)
        with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
            if orientation != 1:  # the same, turned: the picture of all levels is what level 0 is
                finest = slide.read_view(1)
            assert len(slide.levels) == len(tiff.series[0].levels) == 3
            for downsample in (1, 2, 4, 8):
                assert np.abs(slide.read_view(downsample, threads=1) - means(finest, downsample)).max() <= 1.01
            for x, y in (rng.integers(0, [slide.width // 4 - 7, slide.height // 4 - 7], (4, 2)) * 4).tolist():
                for size in (32, 16, 8):
                    (patch,) = slide.read_tiles([(x, y, 32, 32)], size, threads=1)
                    assert np.abs(patch - means(finest[y : y + 32, x : x + 32], 32 // size)).max() <= 1.51
            assert check_slide(slide).sound or not any(level.any() for level in held)
            if orientation == 1:
                for number in range(3):
                    assert np.array_equal(shown_empty(slide, number, held[number].shape), empty(held[: number + 1]))


def empty(held: list[np.ndarray]) -> np.ndarray:
    """Which tiles of the last of these levels are held neither there nor at any finer one."""
    rows, cols = held[-1].shape
    some = [there.reshape(rows, len(there) // rows, cols, -1).any((1, 3)) for there in held]
    return ~np.any(some, axis=0)


def shown_empty(slide: Slide, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Which tiles of a level show nothing, as drawing learns it."""
    side = TILE * 2.0**number
    absence = slide.absence(2.0**number)
    if absence is None:
        return np.zeros(shape, bool)
    return absence.grid(np.arange(shape[1]) * side, np.arange(shape[0]) * side, side)


@pytest.mark.integration
@pytest.mark.parametrize("resampling", ["average", "nearest"])
@pytest.mark.parametrize(("bands", "codec"), [(1, "DEFLATE"), (1, "JPEG"), (3, "DEFLATE"), (3, "JPEG")])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gdals_sparse_files_have_one_background(tmp_path: Path, bands: int, codec: str, resampling: str) -> None:
    rasterio = pytest.importorskip("rasterio")
    path, pixels = tmp_path / "a.tif", np.full((bands, 128, 256), 120, np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=1024, height=1024, count=bands, dtype="uint8", tiled=True, blockxsize=128,
        blockysize=128, compress=codec, sparse_ok=True, photometric="RGB" if bands == 3 else "MINISBLACK",
        interleave="pixel",
    ) as out:  # fmt: skip
        out.write(pixels, window=rasterio.windows.Window(256, 384, 256, 128))
    with rasterio.open(path, "r+") as out:
        out.build_overviews([4, 16], rasterio.enums.Resampling[resampling])
    truth = np.full((1024, 1024, 3), 255)
    truth[384:512, 256:512] = 120
    with open_slide(path) as slide:
        assert len(slide.levels) == 3
        for downsample in (1, 2, 4, 8, 16, 32):
            assert np.abs(slide.read_view(downsample) - means(truth, downsample)).mean() < 1, downsample


@settings(max_examples=25, deadline=None)
@given(st.integers(17, 130), st.integers(17, 130), st.integers(0, 10**6))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_black_in_the_place_of_background_is_mixed_into_no_view(height: int, width: int, seed: int) -> None:
    rasterio = pytest.importorskip("rasterio")
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=width, height=height, count=1, dtype="uint8", tiled=True, blockxsize=16,
            blockysize=16, compress="JPEG", sparse_ok=True,
        ) as out:  # fmt: skip
            for y, x in np.argwhere(rng.random((-(-height // 16), -(-width // 16))) < 0.4) * 16:
                rows, cols = min(16, height - y), min(16, width - x)
                flat = np.full((1, rows, cols), rng.integers(100, 200), np.uint8)
                out.write(flat, window=rasterio.windows.Window(x, y, cols, rows))
        with rasterio.open(path, "r+") as out, rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE=16):
            out.build_overviews([2], rasterio.enums.Resampling.average)
        with open_slide(path) as slide:
            half = slide.read_view(2, threads=1)
            for side in (2, 4, 8):
                inner = half[: height // 2 // side * side, : width // 2 // side * side]
                view = slide.read_view(2.0 * side, threads=1)[: len(inner) // side, : inner.shape[1] // side]
                assert inner.size == 0 or np.abs(view - means(inner, side)).max() < 3


def test_tissue_that_only_a_lower_level_holds_stays(tmp_path: Path) -> None:
    pixels = picture(64, 64) // 2 + 60
    half = (means(pixels, 2) + 0.5).astype(np.uint8)
    held = [np.zeros((4, 4), bool), np.ones((2, 2), bool)]
    held[0][0] = True
    with open_slide(write(tmp_path / "a.tif", [pixels, half], held)) as slide:
        assert np.array_equal(slide.read_view(2), half)


def test_an_aperio_slide_whose_lower_level_lacks_its_right_edge() -> None:
    folder = FAULTS / "svs-lower-level-tiles-of-zero-bytes"
    with open_slide(folder / "plain.svs") as plain, open_slide(folder / "zero_edge_tiles.svs") as lacking:
        assert lacking.absent(1) is not None and lacking.absence(4.0) is None
        for downsample in (4, 8, 16):
            whole, view = plain.read_view(downsample), lacking.read_view(downsample)
            assert np.abs(view.mean((0, 1)) - whole.mean((0, 1))).max() < 0.5
            assert np.abs(view.astype(int) - whole).mean() < 5
        assert np.allclose(lacking.read_view(4).mean((0, 1)), [196.6, 171.4, 190.4], atol=0.3)
        (patch,), (same) = lacking.read_tiles([(700, 100, 256, 256)], 64), plain.read_tiles([(700, 100, 256, 256)], 64)
        assert np.abs(patch.mean() - next(same).mean()) < 1
        assert check_slide(lacking).sound
