"""A Hilbert curve over a grid: positions that are near on the curve are near on the slide."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=8)
def hilbert_order(rows: int, cols: int) -> NDArray[np.int64]:
    """Flat indices (row * cols + col) of a (rows, cols) grid, shape (rows * cols,), in the curve's order.

    The curve fills the smallest square of side 2^b around the grid; cells outside the grid are skipped.

    >>> hilbert_order(2, 2).tolist()
    [0, 2, 3, 1]
    """
    y, x = (a.ravel().astype(np.int64) for a in np.indices((rows, cols), dtype=np.int32))
    distance = np.zeros(rows * cols, np.int64)
    side = 1 << max(max(rows, cols) - 1, 0).bit_length()
    half = side // 2
    while half:
        right, below = (x & half) > 0, (y & half) > 0
        distance += half * half * ((3 * right) ^ below)
        # Turn the quadrant so that the next finer curve starts where this one left off.
        flip = ~below & right
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        x, y = np.where(below, x, y), np.where(below, y, x)
        half //= 2
    order = np.argsort(distance, kind="stable")
    order.setflags(write=False)
    return order
