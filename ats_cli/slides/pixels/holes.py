"""What the levels of a slide lack, by their own index: a native tile that a lower level does not hold is read from the
next finer one; it is background only where no finer level holds it, and background is white at every level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ats_cli.slides.pixels.absence import Absence
from ats_cli.slides.reader import Box, Damage, InFinerLevel, Level, Region

_Tiles = NDArray[np.bool_]
# Where tiles of the first level are left out, GDAL builds the lower levels from black; JPEG adds a little.
_BLACK = 8
_IN_FINER = InFinerLevel("not held at this level, and read from a finer one.")


class Holes:
    """`levels`: all that can be read, of which the first `stored` are the file's own. `finer(level)`: the next finer
    level of one, None of the finest. `absent(level)`: the native tiles that it does not hold, as of `Reader`. `white`:
    whether these are shown as white; else as the file says, the same at every level."""

    def __init__(
        self,
        levels: Sequence[Level],
        stored: int,
        finer: Callable[[int], int | None],
        absent: Callable[[int], _Tiles | None],
        white: bool = True,
    ) -> None:
        self._levels, self._stored, self._finer, self._absent = levels, stored, finer, absent
        self._white = white
        self._split: dict[int, tuple[_Tiles | None, _Tiles | None]] = {}
        self._absences: dict[int, Absence | None] = {}

    def absence(self, level: int) -> Absence | None:
        """Where a level shows background, as neither it nor any finer one holds a tile; None: nowhere."""
        if level not in self._absences:
            empty, _ = self._tiles(level)
            self._absences[level] = None if empty is None else Absence(self._levels[level], empty)
        return self._absences[level]

    def filled(self, level: int, boxes: Sequence[Box], regions: Iterator[Region]) -> Iterator[Region]:
        """The regions that were read of a level: what only a finer level holds is marked as damage that is
        `InFinerLevel`, and black where the finest level lacks a tile is white."""
        finer = self._finer(level)
        if finer is None:
            return regions
        _, elsewhere = self._tiles(level)
        # What is decoded from the finest level itself has no black in the place of what that lacks.
        from_finest = finer == 0 and level >= self._stored
        base = self.absence(0) if self._white and not from_finest else None
        if elsewhere is None and base is None:
            return regions
        return (
            self._whitened(level, box, self._marked(level, box, region, elsewhere), base)
            for box, region in zip(boxes, regions, strict=True)
        )

    def _tiles(self, level: int) -> tuple[_Tiles | None, _Tiles | None]:
        """Of the native tiles that a level does not hold, those that no finer level holds, and those that one does."""
        if level not in self._split:
            self._split[level] = self._compared(level)
        return self._split[level]

    def _compared(self, level: int) -> tuple[_Tiles | None, _Tiles | None]:
        absent, finer = self._absent(level), self._finer(level)
        if absent is None or not absent.any():
            return None, None
        if finer is None:
            return absent, None
        below = self.absence(finer)
        if below is None:
            return None, absent
        lv = self._levels[level]
        rows, cols = np.nonzero(absent)
        corners = np.stack([cols * lv.tile_width, rows * lv.tile_height], axis=1)
        sides = np.minimum([lv.tile_width, lv.tile_height], [lv.width, lv.height] - corners)
        empty = np.zeros_like(absent)
        empty[rows, cols] = below.of(np.concatenate([corners, sides], axis=1) * lv.downsample)
        elsewhere = absent & ~empty
        return empty if empty.any() else None, elsewhere if elsewhere.any() else None

    def _marked(self, level: int, box: Box, region: Region, elsewhere: _Tiles | None) -> Region:
        if elsewhere is None:
            return region
        (x, y, width, height), lv = box, self._levels[level]
        first, above = x // lv.tile_width, y // lv.tile_height
        stop, below = -(-(x + width) // lv.tile_width), -(-(y + height) // lv.tile_height)
        marks = []
        for row in range(above, below):
            top, bottom = max(y, row * lv.tile_height), min(y + height, (row + 1) * lv.tile_height)
            for start, end in _runs(elsewhere[row, first:stop]):
                left, right = max(x, (first + start) * lv.tile_width), min(x + width, (first + end) * lv.tile_width)
                marks.append(Damage((left, top, right - left, bottom - top), _IN_FINER))
        return region._replace(damage=(*region.damage, *marks)) if marks else region

    def _whitened(self, level: int, box: Box, region: Region, base: Absence | None) -> Region:
        mixed = level >= self._stored  # reduced: black is averaged with what is around it
        if base is None or region.pixels.size == 0 or (not mixed and region.pixels.min() > _BLACK):
            return region
        (x, y, width, height), d = box, self._levels[level].downsample
        empty = base.grid(np.arange(x, x + width) * np.float64(d), np.arange(y, y + height) * np.float64(d), d)
        if mixed:
            return region._replace(damage=(*region.damage, Damage(box, _IN_FINER))) if empty.any() else region
        black = empty & (region.pixels.max(axis=2) <= _BLACK)
        if not black.any():
            return region
        return region._replace(pixels=np.where(black[..., None], np.uint8(255), region.pixels))


def _runs(marked: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Where values in a row are True, [start, end) of each run.

    >>> list(_runs(np.array([True, False, True, True])))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
