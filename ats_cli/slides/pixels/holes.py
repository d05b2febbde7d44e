"""Missing native tiles, by the file's index. A tile that a level lacks is read from the next finer level. It is
background only if no finer level holds it, and background is white at every level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ats_cli.slides.pixels.absence import Absence
from ats_cli.slides.reader import Box, Damage, InFinerLevel, Level, Region

_Tiles = NDArray[np.bool_]
# Where level 0 lacks tiles, GDAL builds the lower levels from black; JPEG adds noise up to this value.
_BLACK = 8
_IN_FINER = InFinerLevel("not held at this level, and read from a finer one.")


class Holes:
    """Finds missing native tiles, and marks or fills them in regions.

    levels: all levels that can be read; the first `stored` are those of the file.
    finer: returns the next finer level of a level; None for the finest.
    absent: returns the native tiles that a level lacks, as `Reader.absent`.
    white: whether missing tiles are shown as white; else they have the file's colour, the same at every level.
    """

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
        """Return where a level shows background: neither it nor a finer level holds a tile. None: nowhere."""
        if level not in self._absences:
            empty, _ = self._tiles(level)
            self._absences[level] = None if empty is None else Absence(self._levels[level], empty)
        return self._absences[level]

    def filled(self, level: int, boxes: Sequence[Box], regions: Iterator[Region]) -> Iterator[Region]:
        """Yield the regions read from a level, with missing tiles marked or filled.

        Tiles that only a finer level holds are marked as damage (`InFinerLevel`). Black pixels where the finest level
        lacks a tile become white.
        """
        finer = self._finer(level)
        if finer is None:
            return regions
        _, elsewhere = self._tiles(level)
        # Reduced levels decoded from the finest level have no black pixels for missing tiles.
        from_finest = finer == 0 and level >= self._stored
        base = self.absence(0) if self._white and not from_finest else None
        if elsewhere is None and base is None:
            return regions
        return (
            self._whitened(level, box, self._marked(level, box, region, elsewhere), base)
            for box, region in zip(boxes, regions, strict=True)
        )

    def _tiles(self, level: int) -> tuple[_Tiles | None, _Tiles | None]:
        """Return the native tiles that a level lacks: those that no finer level holds, and those that one does."""
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
        mixed = level >= self._stored  # reduced levels average black with neighbours
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
    """Return [start, end) of each run of True values.

    >>> list(_runs(np.array([True, False, True, True])))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
