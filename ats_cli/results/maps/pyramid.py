"""Reduced copies of a map, each half the size of the one before, kept in files: memory holds a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ats_cli.results.maps.slide_map import Floats, SlideMap, blocks

TILE = 256


@dataclass(frozen=True)
class MapLevel:
    """One level of a map: `factor` cells of the map a side are one of its cells. `block`: as of `SlideMap`."""

    rows: int
    cols: int
    factor: int
    block: Callable[[int, int, int, int], Floats]

    def tiles(self) -> Iterator[Floats]:
        """Yield tiles of (TILE, TILE), row by row; those at the right and bottom edges are filled with 0."""
        for place in blocks(self.rows, self.cols, TILE):
            part, tile = self.block(*place), np.zeros((TILE, TILE), np.float32)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def map_levels(slide_map: SlideMap, folder: Path) -> list[MapLevel]:
    """Return the map and its reduced levels, down to one that fits in a tile. `folder` keeps the reduced ones."""
    levels = [MapLevel(slide_map.rows, slide_map.cols, 1, slide_map.block)]
    while max(levels[-1].rows, levels[-1].cols) > TILE:
        levels.append(_reduced(levels[-1], folder / f"{len(levels)}.raw"))
    return levels


def _reduced(level: MapLevel, file: Path) -> MapLevel:
    """Write the means of squares of 2 x 2 cells; at an odd edge, of those that exist."""
    rows, cols = -(-level.rows // 2), -(-level.cols // 2)
    with file.open("wb") as out:
        for row_start, row_stop, col_start, col_stop in blocks(level.rows, level.cols, 2 * TILE):
            block = level.block(row_start, row_stop, col_start, col_stop)
            padded = np.pad(block, ((0, block.shape[0] % 2), (0, block.shape[1] % 2)), mode="edge")
            squares = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
            for row, values in enumerate(squares.mean(axis=(1, 3), dtype=np.float32).astype("<f4"), row_start // 2):
                out.seek(4 * (row * cols + col_start // 2))
                out.write(values.tobytes())

    def read(row_start: int, row_stop: int, col_start: int, col_stop: int) -> Floats:
        found = np.empty((row_stop - row_start, col_stop - col_start), np.float32)
        with file.open("rb") as source:
            for row in range(row_start, row_stop):
                source.seek(4 * (row * cols + col_start))
                found[row - row_start] = np.frombuffer(source.read(4 * (col_stop - col_start)), "<f4")
        return found

    return MapLevel(rows, cols, 2 * level.factor, read)
