"""A map: a value for each cell of a grid over a slide, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import AttentionMap, TilesRead

Floats = NDArray[np.float32]

# Cells a side of the blocks in which a whole map is read.
BLOCK = 256


@dataclass(frozen=True)
class SlideMap:
    """Values over a slide.

    name: what the values are, in a few words. signed: whether zero is the middle of their range (evidence).
    rows, cols: size of the grid. cell: side of a cell in level-0 pixels; cell (row, col) covers the square
    [col * cell, (col + 1) * cell) x [row * cell, (row + 1) * cell) of the slide. mpp: microns per level-0 pixel, or
    None. slide_size: (width, height) in level-0 pixels.
    block: `block(row_start, row_stop, col_start, col_stop)` returns the values of those rows and columns, float32, all
    finite.
    """

    name: str
    rows: int
    cols: int
    cell: float
    mpp: float | None
    slide_size: tuple[int, int]
    block: Callable[[int, int, int, int], Floats]
    signed: bool = False

    @property
    def unit(self) -> str:
        """Unit of physical sizes: "µm", or "pixel" (of level 0) where the slide has no scale."""
        return "pixel" if self.mpp is None else "µm"

    @property
    def pixel_size(self) -> float:
        """Side of a level-0 pixel in `unit`."""
        return 1.0 if self.mpp is None else self.mpp

    @property
    def cell_size(self) -> float:
        """Side of a cell in `unit`."""
        return self.cell * self.pixel_size

    def origin(self, factor: int = 1) -> float:
        """Return the centre of the first cell in `unit`, x and y alike, of a map reduced by `factor`.

        The origin is the centre of the slide's first level-0 pixel, as in OME: (k * factor - m) / 2 for cells of k
        and pixels of m.
        """
        return (self.cell_size * factor - self.pixel_size) / 2


def attention_map(attention: AttentionMap, mpp: float | None, slide_size: tuple[int, int]) -> SlideMap:
    """Return the map of attention in multiples of the average over positions; 0 where there is no position."""
    rows, cols = attention.values.shape

    def block(row_start: int, row_stop: int, col_start: int, col_stop: int) -> Floats:
        return (attention.values[row_start:row_stop, col_start:col_stop] * attention.positions).astype(np.float32)

    return SlideMap("attention (times average)", rows, cols, attention.pitch, mpp, slide_size, block)


def blocks(rows: int, cols: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (row_start, row_stop, col_start, col_stop) of blocks of at most `side` cells a side, row by row."""
    for row_start in range(0, rows, side):
        for col_start in range(0, cols, side):
            yield row_start, min(row_start + side, rows), col_start, min(col_start + side, cols)


def value_range(slide_map: SlideMap) -> tuple[float, float]:
    """Return the lowest and highest value; (-m, m) for signed values, and never an empty range."""
    low, high = 0.0, 0.0
    for place in blocks(slide_map.rows, slide_map.cols, BLOCK):
        values = slide_map.block(*place)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if slide_map.signed:
        low, high = -max(-low, high), max(-low, high)
    return (low, high) if high > low else (low - 1.0, high + 1.0) if slide_map.signed else (low, low + 1.0)


def evidence_map(
    tiles: TilesRead, index: int, name: str, cell: float, mpp: float | None, slide_size: tuple[int, int]
) -> SlideMap:
    """Return the map of the evidence for the class `name`, whose index is `index`: 0 where no tile was read.

    The values sum to the logit minus its bias.
    """
    rows, cols = tiles.grid
    values = (tiles.weights * tiles.terms[:, index]).astype(np.float32)
    order = np.argsort(tiles.positions, kind="stable")
    positions = tiles.positions[order]

    def block(row_start: int, row_stop: int, col_start: int, col_stop: int) -> Floats:
        found = np.zeros((row_stop - row_start, col_stop - col_start), np.float32)
        first, last = np.searchsorted(positions, (row_start * cols, row_stop * cols))
        row, col = np.divmod(positions[first:last], cols)
        inside = (col >= col_start) & (col < col_stop)
        found[row[inside] - row_start, col[inside] - col_start] = values[order[first:last]][inside]
        return found

    return SlideMap(f"evidence for {name}", rows, cols, cell, mpp, slide_size, block, signed=True)
