"""A mosaic is what its truth says: its tiles, its levels, its evidence, and stains that its split alone has."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile

from ats_cli.slides import open_slide

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

from benchmarks.mosaics.clusters import part_by_stain, read_clusters, write_clusters
from benchmarks.mosaics.make import Mosaic, Pool, lay_out, make_mosaics

pytestmark = pytest.mark.integration

SIDE, TILE, SHARE = 8, 224, 0.1


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tiles of each kind, of ten stains, with structure in them."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    for kind in ("H", "AC"):
        (folder / kind).mkdir()
        for stain in range(10):
            colour = rng.uniform(120, 230) * np.array([1, 0.75, 0.9]) + rng.normal(0, 5, 3)
            for number in range(4):
                coarse = colour + rng.normal(0, 3 + 2 * stain, (28, 28, 1))
                pixels = np.clip(np.repeat(np.repeat(coarse, 8, 0), 8, 1), 0, 255).astype(np.uint8)
                (folder / kind / f"{stain}_{number}.jpg").write_bytes(
                    simplejpeg.encode_jpeg(pixels, 90, colorsubsampling="420")
                )
    write_clusters(folder / "clusters.csv", part_by_stain(folder, ("H", "AC"), seed=3))
    return folder


@pytest.fixture(scope="module")
def pool(tiles: Path) -> Pool:
    return Pool(tiles, read_clusters(tiles / "clusters.csv"))


@pytest.fixture(scope="module", params=["shared", "written out"])
def made(request: pytest.FixtureRequest, pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mosaics")
    make_mosaics(out, pool, {"train": 2, "test": 2}, side=SIDE, share=SHARE, written_out=request.param == "written out")
    return out


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tiles_of(folder: Path, row: dict[str, str], tiles: Path) -> np.ndarray:
    """The pixels that the truth says, (side, side, 224, 224, 3)."""
    truth = np.load(folder / "truth" / f"{Path(row['slide']).stem}.npz")
    decoded = np.stack([simplejpeg.decode_jpeg((tiles / str(name)).read_bytes()) for name in truth["names"]])
    return decoded[truth["tile"]]


def test_level_0_holds_the_tiles_for_every_reader(made: Path, tiles: Path) -> None:
    row = manifest(made)[1]
    expected = tiles_of(made, row, tiles).transpose(0, 2, 1, 3, 4).reshape(SIDE * TILE, SIDE * TILE, 3)
    with openslide.OpenSlide(made / row["slide"]) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(1.2)
        assert slide.level_downsamples == (1, 4, 16)
        region = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    assert np.abs(region.astype(int) - expected).mean() < 1  # two decoders of chroma
    assert np.abs(tifffile.imread(made / row["slide"]).astype(int) - expected).mean() < 1
    with open_slide(made / row["slide"]) as ours:
        assert ours.require_mpp() == pytest.approx(1.2)
        (patch,) = ours.read_tiles([(3 * TILE, 2 * TILE, TILE, TILE)], TILE)
    assert np.abs(patch.astype(int) - expected[2 * TILE : 3 * TILE, 3 * TILE : 4 * TILE]).mean() < 1


def test_lower_levels_are_means_of_level_0(made: Path, tiles: Path) -> None:
    row = manifest(made)[1]
    fine = tiles_of(made, row, tiles).transpose(0, 2, 1, 3, 4).reshape(SIDE * TILE, SIDE * TILE, 3)
    with tifffile.TiffFile(made / row["slide"]) as tiff:
        for down, page in zip((4, 16), tiff.pages[1:], strict=True):
            side = SIDE * TILE // down
            mean = fine.reshape(side, down, side, down, 3).mean(axis=(1, 3))
            assert page.shape == mean.shape
            assert np.abs(page.asarray() - mean).mean() < 4  # what JPEG adds


def test_evidence_is_in_half_of_the_slides_and_nowhere_else(made: Path) -> None:
    assert [row["label"] for row in manifest(made)] == ["healthy", "cancer"] * 2
    for row in manifest(made):
        truth = np.load(made / "truth" / f"{Path(row['slide']).stem}.npz")
        diseased = np.char.startswith(truth["names"], "AC/")[truth["tile"]]
        assert np.array_equal(diseased, truth["evidence"])
        assert diseased.sum() == (round(SHARE * SIDE**2) if row["label"] == "cancer" else 0)


def test_splits_share_no_cluster(made: Path, tiles: Path) -> None:
    cluster = {tile.tile: (tile.kind, tile.cluster) for tile in read_clusters(tiles / "clusters.csv")}
    of_split: dict[str, set[tuple[str, int]]] = {}
    for row in manifest(made):
        names = np.load(made / "truth" / f"{Path(row['slide']).stem}.npz")["names"]
        of_split.setdefault(row["split"], set()).update(cluster[str(name)] for name in names)
    assert len(of_split["train"]) > 2
    assert not of_split["train"] & of_split["test"]


def test_a_part_holds_whole_clusters_of_like_stain(tiles: Path) -> None:
    rows = read_clusters(tiles / "clusters.csv")
    for kind in ("H", "AC"):
        part_of = {(row.cluster, row.part) for row in rows if row.kind == kind}
        assert len(part_of) == 10
        assert sorted(part for _, part in part_of) == ["test"] * 3 + ["train"] * 5 + ["val"] * 2


def test_evidence_lies_in_few_clusters(pool: Pool) -> None:
    mosaics = [lay_out(pool, "train", index, side=72, share=0.02, seed=0) for index in (1, 3, 5)]
    for mosaic in mosaics:
        assert mosaic.evidence.sum() == round(0.02 * 72**2)
        inside = np.pad(mosaic.evidence, 1)
        neighbours = sum(np.roll(inside, shift, axis) for axis in (0, 1) for shift in (-1, 1))[1:-1, 1:-1]
        assert neighbours[mosaic.evidence].mean() > 2.5  # of 4; scattered tiles would have 0.08


def test_each_mosaic_has_proportions_of_its_own_and_the_seed_decides(pool: Pool) -> None:
    def healthy(mosaic: Mosaic) -> np.ndarray:
        clusters = np.array([tile.cluster for tile in pool.tiles])
        return np.bincount(clusters[mosaic.tile[~mosaic.evidence]], minlength=10) / mosaic.tile.size

    first, second = (lay_out(pool, "train", index, side=72, share=0.02, seed=0) for index in (0, 2))
    assert np.abs(healthy(first) - healthy(second)).sum() > 0.2  # from the same proportions: below 0.1
    again, other = (lay_out(pool, "train", 0, side=72, share=0.02, seed=seed) for seed in (0, 1))
    assert np.array_equal(first.tile, again.tile)
    assert not np.array_equal(first.tile, other.tile)


def test_naming_the_same_bytes_again_saves_room(pool: Pool, tmp_path: Path) -> None:
    sizes = {}
    for written_out in (False, True):
        (mosaic,) = make_mosaics(tmp_path / str(written_out), pool, {"train": 1}, side=20, written_out=written_out)
        sizes[written_out] = (tmp_path / str(written_out) / mosaic.path).stat().st_size
    assert sizes[False] < 0.6 * sizes[True]
