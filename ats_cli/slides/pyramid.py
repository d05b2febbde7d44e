"""The levels of a slide: which level to read for a scale, and which of its pixels make a patch or a view."""

from __future__ import annotations

from collections.abc import Sequence

from ats_cli.slides.pixels.geometry import snap
from ats_cli.slides.pixels.resample import Taps, axis_taps
from ats_cli.slides.reader import Level

# A view is read in blocks of at most this many pixels of the level, so memory does not grow with the slide.
_BLOCK_HEIGHT, _BLOCK_WIDTH = 512, 4096


class Pyramid:
    """levels: of the file, finest first. reduced: further levels, for views only, numbered after `levels`."""

    def __init__(self, levels: Sequence[Level], reduced: Sequence[Level] = ()) -> None:
        self.levels = tuple(levels)
        self.all_levels = (*levels, *reduced)

    def plan(self, box: list[float], size: int, level: int) -> tuple[Taps, Taps] | None:
        """Return the taps (rows, cols) of one box on a level; None if the box lies outside the slide."""
        x, y, width, height = box
        d = self.levels[level].downsample
        rows = self._taps(level, 1, y / d, snap(height / d / size), size, False)
        cols = self._taps(level, 0, x / d, snap(width / d / size), size, False)
        return None if rows is None or cols is None else (rows, cols)

    def finer_level(self, downsample: float, for_view: bool = False) -> int:
        """Return the coarsest level that is at least as fine as `downsample`; level 0 if none is."""
        levels = self.all_levels if for_view else self.levels
        fine = [i for i, level in enumerate(levels) if level.downsample <= downsample * (1 + 1e-6)]
        return max(fine, key=lambda i: levels[i].downsample, default=0)

    def next_finer(self, level: int) -> int | None:
        """Return the next finer level of the file; None for the finest. It is what a reduced level is made from."""
        downsample = self.all_levels[level].downsample
        return self.finer_level(downsample * (1 - 1e-4)) if downsample > 1 else None

    def view_taps(self, level: int, axis: int, scale: float, edge: tuple[int, int]) -> Taps:
        """Return the taps of the view's pixels edge[0] to edge[1] along one axis."""
        # At an integer scale the taps can begin at the edge without rounding, and inner edges share cached taps.
        begin, skip = (edge[0] * scale, 0) if scale == round(scale) else (0.0, edge[0])
        taps = self._taps(level, axis, begin, scale, edge[1] - edge[0], True, skip)
        assert taps is not None  # normalised taps are never empty
        return taps

    def _taps(
        self, level: int, axis: int, start: float, scale: float, count: int, normalise: bool, skip: int = 0
    ) -> Taps | None:
        """Return the taps along x (axis 0) or y (axis 1) of a level; see `axis_taps`."""
        lv = self.all_levels[level]
        size, l0_size = ((lv.width, self.levels[0].width), (lv.height, self.levels[0].height))[axis]
        return axis_taps(start, scale, count, size, l0_size / lv.downsample, normalise, skip)

    def block_shape(self, level: int, scale: float) -> tuple[int, int]:
        """Return (rows, cols) of the view in one block, made of whole native tiles if they fit."""
        lv = self.all_levels[level]
        shape = []
        for tile, limit in ((lv.tile_height, _BLOCK_HEIGHT), (lv.tile_width, _BLOCK_WIDTH)):
            whole = tile if 0 < tile <= limit else 1
            # At scale 1 pixels are only copied, one native tile at a time.
            most = tile if scale == 1 and whole > 1 else limit
            shape.append(max(1, int(most // whole * whole / scale)))
        return shape[0], shape[1]
