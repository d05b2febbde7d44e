"""Places of a level that show nothing, since the file lacks all native tiles under them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ats_cli.slides.reader import Level

_Floats = NDArray[np.float64]


class Absence:
    """Finds boxes over missing native tiles, from the file's index alone. Boxes are in level-0 pixels.

    absent: the missing native tiles of `level`, (tile rows, tile cols) bool.
    """

    def __init__(self, level: Level, absent: NDArray[np.bool_]) -> None:
        self._level = level
        # Summed-area table of the tiles stored: a box of any size takes four look-ups.
        counted = np.int32 if absent.size < 2**31 else np.int64
        self._stored = np.zeros((absent.shape[0] + 1, absent.shape[1] + 1), dtype=counted)
        inner = self._stored[1:, 1:]
        inner[:] = ~absent
        for axis in (0, 1):  # in place: a level may have many millions of tiles
            np.cumsum(inner, axis=axis, out=inner)

    @property
    def complete(self) -> bool:
        """Whether the file holds no native tile of the level."""
        return not self._stored[-1, -1]

    def of(self, boxes: _Floats) -> NDArray[np.bool_]:
        """Return (N,) bool for boxes (N, 4), x, y, width, height. Boxes outside the slide are not absent."""
        left, right = self._tiles(boxes[:, 0], boxes[:, 2], 1)
        top, bottom = self._tiles(boxes[:, 1], boxes[:, 3], 0)
        return self._none_stored(top, bottom, left, right)

    def grid(self, x: _Floats, y: _Floats, side: float) -> NDArray[np.bool_]:
        """Return (rows, cols) bool for squares with corners at `x` (cols,) and `y` (rows,)."""
        left, right = self._tiles(x, side, 1)
        top, bottom = self._tiles(y, side, 0)
        return self._none_stored(top[:, None], bottom[:, None], left, right)

    def _tiles(self, start: _Floats, length: _Floats | float, axis: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the native tiles [first, stop) along an axis of `_stored` under [start, start + length)."""
        tile = (self._level.tile_height, self._level.tile_width)[axis]
        most = self._stored.shape[axis] - 1
        first = np.floor(np.floor(start / self._level.downsample) / tile)
        stop = np.ceil(np.ceil((start + length) / self._level.downsample) / tile)
        return np.clip(first, 0, most).astype(np.intp), np.clip(stop, 0, most).astype(np.intp)

    def _none_stored(
        self, top: NDArray[np.intp], bottom: NDArray[np.intp], left: NDArray[np.intp], stop: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        table = self._stored
        stored = table[bottom, stop] - table[top, stop] - table[bottom, left] + table[top, left]
        empty: NDArray[np.bool_] = (stored == 0) & (stop > left) & (bottom > top)
        return empty
