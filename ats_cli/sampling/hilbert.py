"""A Hilbert curve over a grid: positions that are near on the curve are near on the slide."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Cells worked on at a time: temporaries of a few MB, whatever the grid.
BLOCK = 1 << 18

# Cells of the largest grid whose order is kept for the next slide, 8 MB.
MOST_REMEMBERED = 1 << 20


def hilbert_order(rows: int, cols: int) -> NDArray[np.int64]:
    """Flat indices (row * cols + col) of a (rows, cols) grid, shape (rows * cols,), in the curve's order.

    The curve fills the smallest square of side 2^b around the grid; cells outside the grid are skipped.

    >>> hilbert_order(2, 2).tolist()
    [0, 2, 3, 1]
    """
    # Slides to train on come again and again; a large grid's order is quicker made than the memory for it found.
    return _remembered(rows, cols) if rows * cols <= MOST_REMEMBERED else _order(rows, cols)


@lru_cache(maxsize=8)
def _remembered(rows: int, cols: int) -> NDArray[np.int64]:
    return _order(rows, cols)


def _order(rows: int, cols: int) -> NDArray[np.int64]:
    distance = np.empty((rows, cols), np.uint64 if max(rows, cols) > 1 << 16 else np.uint32)
    height = max(1, BLOCK // max(cols, 1))
    for top in range(0, rows, height):
        y, x = np.mgrid[top : min(top + height, rows), :cols]
        distance[top : top + height] = _distance(y, x, 1 << max(max(rows, cols) - 1, 0).bit_length())
    order = np.argsort(distance, axis=None, kind="stable")
    order.setflags(write=False)
    return order


def _distance(y: NDArray[np.int64], x: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """How far along the curve that fills a square of `side`, a power of two, the cells (y, x) lie."""
    distance = np.zeros_like(y)
    half = side // 2
    while half:
        right, below = (x & half) > 0, (y & half) > 0
        distance += half * half * ((3 * right) ^ below)
        # Turn the quadrant so that the next finer curve starts where this one left off.
        flip = ~below & right
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        x, y = np.where(below, x, y), np.where(below, y, x)
        half //= 2
    return distance
