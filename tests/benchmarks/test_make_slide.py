"""A made slide is what it says: other readers open it, its levels are true downsamples, it is the same again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from ats_cli.slides import open_slide

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

from benchmarks.make_slide import make_slide

pytestmark = pytest.mark.integration

SIZE = (6000, 4100)


@pytest.mark.parametrize(("shared", "complete"), [(False, False), (True, True)])
def test_levels_are_true_downsamples_for_other_readers_too(tmp_path: Path, shared: bool, complete: bool) -> None:
    make_slide(tmp_path / "a.svs", *SIZE, shared=shared, complete=complete)
    with tifffile.TiffFile(tmp_path / "a.svs") as tiff:
        assert (tiff.pages.first.jpegtables is None) == complete
        fine, *lower = [level.asarray().astype(np.float64) for level in tiff.series[0].levels]
    for down, level in zip((4, 16), lower, strict=True):
        assert level.shape == (-(-SIZE[1] // down), -(-SIZE[0] // down), 3)
        rows, cols = SIZE[1] // down, SIZE[0] // down
        mean = fine[: rows * down, : cols * down].reshape(rows, down, cols, down, 3).mean(axis=(1, 3))
        assert np.abs(mean - level[:rows, :cols]).mean() < 2  # what JPEG adds
    with openslide.OpenSlide(tmp_path / "a.svs") as slide:
        assert slide.level_dimensions == tuple((-(-SIZE[0] // d), -(-SIZE[1] // d)) for d in (1, 4, 16))
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        seen = np.asarray(slide.read_region((1000, 2000), 0, (700, 500)).convert("RGB"))
    assert np.array_equal(seen, fine[2000:2500, 1000:1700])
    with open_slide(tmp_path / "a.svs") as ours:
        (patch,) = ours.read_tiles([(1000, 2000, 500, 500)], 500)
    assert np.array_equal(patch, seen[:, :500])


def test_shared_tiles_take_little_room_and_show_the_same(tmp_path: Path) -> None:
    make_slide(tmp_path / "stored.svs", *SIZE)
    make_slide(tmp_path / "shared.svs", *SIZE, shared=True)
    make_slide(tmp_path / "absent.svs", *SIZE, shared=True, absent=True)
    stored, shared, absent = (tifffile.imread(tmp_path / f"{name}.svs") for name in ("stored", "shared", "absent"))
    assert np.array_equal(stored, shared)
    there = absent.any(axis=2)
    assert 0 < there.mean() < 1
    assert np.array_equal(absent[there], stored[there])
    assert (tmp_path / "shared.svs").stat().st_size < 0.5 * (tmp_path / "stored.svs").stat().st_size


def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_slide(tmp_path / name / "slide.svs", *SIZE, shared=True, seed=seed)
    a, b, c = ((tmp_path / name / "slide.svs").read_bytes() for name in "abc")
    assert a == b != c
