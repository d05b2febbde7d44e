"""Reduced copies of a map, each half the size of the one before, kept in files: memory holds a strip at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ats_cli.results.maps.slide_map import Floats, SlideMap

TILE = 256


@dataclass(frozen=True)
class MapLevel:
    """One level of a map: `factor` cells of the map a side are one of its cells."""

    rows: int
    cols: int
    factor: int
    strip: Callable[[int, int], Floats]

    def tiles(self) -> Iterator[Floats]:
        """Yield tiles of (TILE, TILE), row by row; those at the right and bottom edges are filled with 0."""
        for top in range(0, self.rows, TILE):
            strip = self.strip(top, min(top + TILE, self.rows))
            for left in range(0, self.cols, TILE):
                tile = np.zeros((TILE, TILE), np.float32)
                part = strip[:, left : left + TILE]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile


def map_levels(slide_map: SlideMap, folder: Path) -> list[MapLevel]:
    """Return the map and its reduced levels, down to one that fits in a tile. `folder` keeps the reduced ones."""
    levels = [MapLevel(slide_map.rows, slide_map.cols, 1, slide_map.strip)]
    while max(levels[-1].rows, levels[-1].cols) > TILE:
        levels.append(_reduced(levels[-1], folder / f"{len(levels)}.raw"))
    return levels


def _reduced(level: MapLevel, file: Path) -> MapLevel:
    """Write the means of squares of 2 x 2 cells; at an odd edge, of those that exist."""
    rows, cols = -(-level.rows // 2), -(-level.cols // 2)
    with file.open("wb") as out:
        for top in range(0, level.rows, 2 * TILE):
            strip = level.strip(top, min(top + 2 * TILE, level.rows))
            padded = np.pad(strip, ((0, strip.shape[0] % 2), (0, strip.shape[1] % 2)), mode="edge")
            blocks = padded.reshape(padded.shape[0] // 2, 2, cols, 2)
            out.write(blocks.mean(axis=(1, 3), dtype=np.float32).astype("<f4").tobytes())

    def read(start: int, stop: int) -> Floats:
        values = np.fromfile(file, "<f4", (stop - start) * cols, offset=4 * start * cols)
        return values.reshape(stop - start, cols).astype(np.float32, copy=False)

    return MapLevel(rows, cols, 2 * level.factor, read)
