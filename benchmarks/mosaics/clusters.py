"""Part tiles into train, val and test by their stain, so that the parts share no cluster of stains.

    python -m benchmarks.mosaics.clusters CLUSTERS.csv --crc5 FOLDER [--seed 1]

k-means (k = 10) of each kind's tiles, separately, on mean and spread of optical density a channel;
of the clusters, five go to train, two to val and three to test. Written as tile, kind, cluster, part.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from sklearn.cluster import KMeans

CLUSTERS = 10
PARTS = ("train",) * 5 + ("val",) * 2 + ("test",) * 3  # of each cluster, in an order that the seed decides
SMALLEST_PART = 0.09  # share of the tiles of a kind that each part holds at least


@dataclass(frozen=True)
class ClusteredTile:
    """A tile: its file relative to the folder of tiles, and where it belongs."""

    tile: str
    kind: str
    cluster: int
    part: str


def read_clusters(path: Path) -> list[ClusteredTile]:
    """The rows of a table of clusters."""
    with path.open(newline="") as file:
        return [ClusteredTile(r["tile"], r["kind"], int(r["cluster"]), r["part"]) for r in csv.DictReader(file)]


def write_clusters(path: Path, tiles: list[ClusteredTile]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["tile", "kind", "cluster", "part"])
        table.writerows(map(astuple, tiles))


def stain(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean and spread of the optical density of each channel, (6,)."""
    density = -np.log10((pixels.reshape(-1, 3).astype(float) + 1) / 256)
    return np.concatenate([density.mean(axis=0), density.std(axis=0)])


def part_by_stain(folder: Path, kinds: tuple[str, ...], seed: int) -> list[ClusteredTile]:
    """Cluster the tiles `folder`/KIND/*.jpg and give each cluster of a kind to a part."""
    rng = np.random.default_rng(seed)
    tiles = []
    for kind in kinds:
        files = sorted((folder / kind).glob("*.jpg"))
        stains = np.stack([stain(simplejpeg.decode_jpeg(file.read_bytes())) for file in files])
        stains = (stains - stains.mean(axis=0)) / stains.std(axis=0)
        clusters = KMeans(CLUSTERS, n_init=10, random_state=seed).fit_predict(stains)
        parts = _parts_of(clusters, rng)
        tiles += [
            ClusteredTile(f"{kind}/{file.name}", kind, int(cluster), parts[cluster])
            for file, cluster in zip(files, clusters, strict=True)
        ]
    return tiles


def _parts_of(clusters: NDArray[np.int32], rng: np.random.Generator) -> list[str]:
    """The part of each cluster: drawn, and drawn again while a part holds too few tiles."""
    while True:
        parts = rng.permutation(PARTS).tolist()
        part_of_tile = np.array(parts)[clusters]
        if min(np.mean(part_of_tile == part) for part in set(PARTS)) >= SMALLEST_PART:
            return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--crc5", type=Path, required=True, help="folder with the folders H and AC of tiles")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tiles = part_by_stain(arguments.crc5, ("H", "AC"), arguments.seed)
    write_clusters(arguments.csv, tiles)
    for kind in ("H", "AC"):
        counts = {part: sum(t.kind == kind and t.part == part for t in tiles) for part in ("train", "val", "test")}
        print(f"{kind}: {counts}")


if __name__ == "__main__":
    main()
