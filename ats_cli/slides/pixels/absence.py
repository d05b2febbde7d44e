"""Which places of a level show nothing: all the native tiles under them are ones that the file says it lacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ats_cli.slides.reader import Level

_Floats = NDArray[np.float64]


class Absence:
    """Answers for squares anywhere, in level-0 pixels, from the file's index alone.

    `absent`: of the native tiles of `level`, (tile rows, tile cols), those that are not there.
    """

    def __init__(self, level: Level, absent: NDArray[np.bool_]) -> None:
        self._level = level
        # Counts of the tiles that are there, summed from the corner: a box of any size is four look-ups.
        counted = np.int32 if absent.size < 2**31 else np.int64
        self._there = np.zeros((absent.shape[0] + 1, absent.shape[1] + 1), dtype=counted)
        inner = self._there[1:, 1:]
        inner[:] = ~absent
        for axis in (0, 1):  # in place: a level may have many millions of tiles
            np.cumsum(inner, axis=axis, out=inner)

    @property
    def complete(self) -> bool:
        """Whether the file holds no tile of the level at all."""
        return not self._there[-1, -1]

    def of(self, boxes: _Floats) -> NDArray[np.bool_]:
        """Of boxes (N, 4), x, y, width, height; (N,) bool. What lies outside the slide is not absent."""
        left, right = self._tiles(boxes[:, 0], boxes[:, 2], 1)
        top, bottom = self._tiles(boxes[:, 1], boxes[:, 3], 0)
        return self._none_held(top, bottom, left, right)

    def grid(self, x: _Floats, y: _Floats, side: float) -> NDArray[np.bool_]:
        """Of the squares with corners at all of `x` (cols,) and `y` (rows,); (rows, cols) bool."""
        left, right = self._tiles(x, side, 1)
        top, bottom = self._tiles(y, side, 0)
        return self._none_held(top[:, None], bottom[:, None], left, right)

    def _tiles(self, start: _Floats, length: _Floats | float, axis: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The native tiles, [first, stop) along an axis of `_there`, that begin at `start` and so far on reach."""
        tile = (self._level.tile_height, self._level.tile_width)[axis]
        most = self._there.shape[axis] - 1
        first = np.floor(np.floor(start / self._level.downsample) / tile)
        stop = np.ceil(np.ceil((start + length) / self._level.downsample) / tile)
        return np.clip(first, 0, most).astype(np.intp), np.clip(stop, 0, most).astype(np.intp)

    def _none_held(
        self, top: NDArray[np.intp], bottom: NDArray[np.intp], left: NDArray[np.intp], stop: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        there = self._there
        held = there[bottom, stop] - there[top, stop] - there[bottom, left] + there[top, left]
        shown: NDArray[np.bool_] = (held == 0) & (stop > left) & (bottom > top)
        return shown
