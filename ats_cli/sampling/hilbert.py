"""A Hilbert curve over a grid: positions that are near on the curve are near on the slide."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Side of the squares from which the order of a large grid is assembled.
SQUARE = 256

# Cells of the largest grid whose order is cached, 8 MB.
MOST_REMEMBERED = 1 << 20


def hilbert_order(rows: int, cols: int) -> NDArray[np.int64]:
    """Return the flat indices (row * cols + col) of a (rows, cols) grid, (rows * cols,), in the order of the curve.

    The curve fills the smallest square of side 2^b around the grid; cells outside the grid are skipped.

    >>> hilbert_order(2, 2).tolist()
    [0, 2, 3, 1]
    """
    # Training uses the same grids again and again. Large grids are computed each time: their orders need much memory.
    return _remembered(rows, cols) if rows * cols <= MOST_REMEMBERED else _order(rows, cols)


@lru_cache(maxsize=8)
def _remembered(rows: int, cols: int) -> NDArray[np.int64]:
    return _order(rows, cols)


def _order(rows: int, cols: int) -> NDArray[np.int64]:
    whole = 1 << max(max(rows, cols) - 1, 0).bit_length()
    side = min(SQUARE, whole)
    down, across = -(-rows // side), -(-cols // side)
    distance, swapped, rotated = _along(np.mgrid[:down, :across], whole // side)
    # Within a square the curve runs in one of four ways.
    y, x = np.divmod(np.argsort(_along(np.mgrid[:side, :side], side)[0], axis=None), side)
    last = side - 1
    ways = {(False, False): (y, x), (True, False): (x, y)}
    ways |= {(swap, True): (last - b, last - a) for (swap, _), (b, a) in list(ways.items())}
    order = np.empty(rows * cols, np.int64)
    filled = 0
    for square in np.argsort(distance, axis=None).tolist():
        row, col = divmod(square, across)
        y, x = ways[bool(swapped[row, col]), bool(rotated[row, col])]
        top, left = row * side, col * side
        cells = (top * cols + left) + y * cols + x
        if top + side > rows or left + side > cols:
            cells = cells[(y < rows - top) & (x < cols - left)]
        order[filled : filled + len(cells)] = cells
        filled += len(cells)
    order.setflags(write=False)
    return order


def _along(cells: NDArray[np.int64], side: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (distance, swapped, rotated) of `cells`, y and x, on the curve through a square of `side`, a power of two.

    distance: along the curve. swapped, rotated: whether the curve runs in the cell with rows and columns swapped, and
    rotated by 180 degrees.
    """
    y, x = cells
    distance = np.zeros_like(y)
    swapped, rotated = np.zeros(y.shape, np.bool_), np.zeros(y.shape, np.bool_)
    half = side // 2
    while half:
        east, south = (x & half) > 0, (y & half) > 0
        distance += half * half * ((3 * east) ^ south)
        # Rotate the quadrant so that the next finer curve starts where this one ends.
        flip = ~south & east
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        x, y = np.where(south, x, y), np.where(south, y, x)
        swapped ^= ~south
        rotated ^= flip
        half //= 2
    return distance, swapped, rotated
