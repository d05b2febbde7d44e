"""Make mosaics: slides of healthy tissue with a little disease in clusters, whose truth is known at every position.

    python -m benchmarks.mosaics.make OUT --crc5 FOLDER [--train 80] [--val 20] [--test 40] [--share 0.02] [--side 72]
                                      [--seed 0] [--clusters CSV] [--mpp 1.2] [--written-out]

A mosaic is a pyramidal TIFF of `side` x `side` tiles of 224 px. In half of the slides `share` of the tiles, in a few
smooth blobs, are of the diseased kind. Level 0 holds the JPEG streams of the tiles as they are; each is stored once and
named many times, or stored at each place with --written-out. Levels 4 and 16 times smaller are put together from tiles
already shrunk (true means) and encoded anew.

Traps that this avoids: tiles drawn evenly from one pool make slides that their mean tells apart. Therefore each mosaic
draws its tiles from the clusters of stains of its split (see clusters.py; the splits share none), in proportions of its
own (Dirichlet, 0.7), for healthy and for diseased tiles.

Written to OUT: `<split>/<label>/<split>_<index>.tif`, `manifest.csv` (slide, label, split), and `truth/<slide>.npz`:
`evidence` (side, side) bool, `tile` (side, side) rows of `names`, `names` the files of the tiles.

The tiles' microns per pixel are not stated. By the size of nuclei they are about 1; with 1.2, a mosaic of 16,128 px is
19 mm of tissue a side, and attention at 9.6 microns has views of 2,016 px (28 px a tile). The crc5 tiles are for
benchmarks only: no mosaic, and no model trained on mosaics, is to be published.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import tifffile
from numpy.typing import NDArray

from benchmarks.make_slide import first_only, share_tiles
from benchmarks.mosaics.clusters import ClusteredTile, read_clusters

TILE = 224  # pixels a side
DOWNSAMPLES = (4, 16)  # of the lower levels
QUALITY = 80  # of the lower levels
CONCENTRATION = 0.7  # of the Dirichlet distribution of a slide's clusters
BLOB = 1 / 12  # standard deviation of the smoothing of the random field, as a share of the side
SPLITS = ("train", "val", "test")
LABELS = {"healthy": "H", "cancer": "AC"}  # label of a slide -> kind of its tiles

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Pool:
    """All tiles: which they are, their JPEG streams and their means over 4 x 4 and 16 x 16 pixels."""

    def __init__(self, folder: Path, tiles: Iterable[ClusteredTile]) -> None:
        self.tiles = [tile for tile in tiles if tile.kind in LABELS.values()]
        self.streams = [(folder / tile.tile).read_bytes() for tile in self.tiles]
        clusters: dict[tuple[str, str], dict[int, list[int]]] = {}
        for row, tile in enumerate(self.tiles):
            clusters.setdefault((tile.part, tile.kind), {}).setdefault(tile.cluster, []).append(row)
        self._clusters = clusters

    @cached_property
    def shrunk(self) -> dict[int, Pixels]:
        """By downsample, (n, 224 / downsample, 224 / downsample, 3)."""
        found: dict[int, list[Pixels]] = {down: [] for down in DOWNSAMPLES}
        for stream in self.streams:
            pixels = simplejpeg.decode_jpeg(stream)
            if pixels.shape != (TILE, TILE, 3):
                raise ValueError(f"A tile has the shape {pixels.shape}; each must have {TILE} x {TILE} pixels.")
            for down, small in found.items():
                side = TILE // down
                mean = pixels.reshape(side, down, side, down, 3).mean(axis=(1, 3))
                small.append(np.asarray(mean + 0.5, np.uint8))
        return {down: np.stack(small) for down, small in found.items()}

    def draw(self, split: str, kind: str, count: int, rng: np.random.Generator) -> Ints:
        """`count` tiles of a kind, in proportions of the split's clusters that are drawn first."""
        clusters = self._clusters[split, kind]
        shares = rng.dirichlet([CONCENTRATION] * len(clusters))
        at = rng.choice(sorted(clusters), count, p=shares)
        return np.array([rng.choice(clusters[cluster]) for cluster in at.tolist()], np.int64)


@dataclass(frozen=True)
class Mosaic:
    """A slide to write. `tile`: (side, side) rows of the pool. `evidence`: (side, side) bool, the diseased tiles."""

    name: str
    split: str
    label: str
    tile: Ints
    evidence: NDArray[np.bool_]

    @property
    def path(self) -> str:
        return f"{self.split}/{self.label}/{self.name}.tif"


def lay_out(pool: Pool, split: str, index: int, *, side: int, share: float, seed: int) -> Mosaic:
    """Decide which tile lies where. A mosaic's random numbers depend on the seed, its split and its index only."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    label = tuple(LABELS)[index % 2]
    evidence = blobs(side, share if label == "cancer" else 0.0, rng)
    tile = pool.draw(split, LABELS["healthy"], side * side, rng).reshape(side, side)
    if evidence.any():
        tile[evidence] = pool.draw(split, LABELS["cancer"], int(evidence.sum()), rng)
    return Mosaic(f"{split}_{index:03d}", split, label, tile, evidence)


def blobs(side: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The `share` of a square where a smooth Gaussian random field is highest, (side, side)."""
    wide = 2 * side  # the field is periodic; half of it is not
    frequency = np.hypot(np.fft.fftfreq(wide)[:, None], np.fft.fftfreq(wide)[None])
    smoothing = np.exp(-2 * (np.pi * BLOB * side * frequency) ** 2)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(wide, wide))) * smoothing).real[:side, :side]
    evidence = np.zeros(side * side, np.bool_)
    count = round(share * side * side)
    evidence[np.argsort(field.ravel())[side * side - count :]] = True
    return evidence.reshape(side, side)


def write_mosaic(path: Path, tile: Ints, pool: Pool, *, mpp: float, written_out: bool) -> None:
    """Write the pyramid. A plain tiled TIFF whose resolution gives the microns per pixel."""
    rows, cols = tile.shape
    about: dict[str, Any] = {"dtype": np.uint8, "tile": (TILE, TILE), "photometric": "ycbcr", "subsampling": (2, 2)}
    about |= {"compression": "jpeg", "metadata": None, "software": False, "resolutionunit": "CENTIMETER"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        places = (pool.streams[i] for i in tile.ravel()) if written_out else first_only(pool.streams, tile)
        tiff.write(places, shape=(rows * TILE, cols * TILE, 3), resolution=(1e4 / mpp, 1e4 / mpp), **about)
        for down in DOWNSAMPLES:
            shape = (rows * TILE // down, cols * TILE // down, 3)
            lower = level_streams(pool.shrunk[down], tile, down)
            tiff.write(lower, shape=shape, subfiletype=1, resolution=(1e4 / mpp / down, 1e4 / mpp / down), **about)
    if not written_out:
        share_tiles(path, {0: tile})


def level_streams(small: Pixels, tile: Ints, down: int) -> Iterable[bytes]:
    """The encoded tiles of a lower level, row by row; each holds `down` x `down` shrunk ones, white beyond the edge."""
    side = TILE // down
    rows, cols = tile.shape
    for row in range(0, rows, down):
        for col in range(0, cols, down):
            part = tile[row : row + down, col : col + down]
            image = np.full((down, side, down, side, 3), 255, np.uint8)
            image[: part.shape[0], :, : part.shape[1]] = small[part].transpose(0, 2, 1, 3, 4)
            yield simplejpeg.encode_jpeg(image.reshape(TILE, TILE, 3), QUALITY, colorsubsampling="420")


def write_truth(out: Path, mosaic: Mosaic, pool: Pool) -> None:
    (out / "truth").mkdir(parents=True, exist_ok=True)
    used, tile = np.unique(mosaic.tile, return_inverse=True)
    names = np.array([pool.tiles[i].tile for i in used.tolist()])
    where = {"evidence": mosaic.evidence, "tile": tile.reshape(mosaic.tile.shape), "names": names}
    np.savez_compressed(out / "truth" / f"{mosaic.name}.npz", **where)


def make_mosaics(
    out: Path,
    pool: Pool,
    counts: dict[str, int],
    *,
    side: int = 72,
    share: float = 0.02,
    seed: int = 0,
    mpp: float = 1.2,
    written_out: bool = False,
) -> list[Mosaic]:
    """Write `counts` mosaics of each split, every other of them with evidence, their truth and their manifest."""
    mosaics = []
    for split, count in counts.items():
        for index in range(count):
            mosaic = lay_out(pool, split, index, side=side, share=share, seed=seed)
            write_mosaic(out / mosaic.path, mosaic.tile, pool, mpp=mpp, written_out=written_out)
            write_truth(out, mosaic, pool)
            mosaics.append(mosaic)
    with (out / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["slide", "label", "split"])
        table.writerows([mosaic.path, mosaic.label, mosaic.split] for mosaic in mosaics)
    return mosaics


def main() -> None:
    """Make the mosaics that the command line asks for, and say what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--crc5", type=Path, required=True, help="folder with the folders H and AC of tiles")
    parser.add_argument("--train", type=int, default=80)
    parser.add_argument("--val", type=int, default=20)
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--share", type=float, default=0.02, help="of the area that is evidence")
    parser.add_argument("--side", type=int, default=72, help="tiles a side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clusters", type=Path, help="table of clusters; without it, that of the tiles' folder")
    parser.add_argument("--mpp", type=float, default=1.2)
    parser.add_argument("--written-out", action="store_true", help="store a tile's bytes at each of its places")
    a = parser.parse_args()
    clock = time.perf_counter()
    pool = Pool(a.crc5, read_clusters(a.clusters or a.crc5 / "stain_clusters.csv"))
    counts = {"train": a.train, "val": a.val, "test": a.test}
    options = {"side": a.side, "share": a.share, "seed": a.seed, "mpp": a.mpp, "written_out": a.written_out}
    mosaics = make_mosaics(a.out, pool, counts, **options)
    size = sum((a.out / mosaic.path).stat().st_size for mosaic in mosaics) / 1e6
    seconds = time.perf_counter() - clock
    print(f"{a.out}: {len(mosaics)} mosaics of {TILE * a.side} px a side, {size:,.0f} MB, made in {seconds:.1f} s")


if __name__ == "__main__":
    main()
