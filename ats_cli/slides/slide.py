"""A slide: the geometry of an image with many levels. The pixels come from a `Reader`.

Frames, by prefix: `v_` pixels of a view, `l_` pixels of a level, `l0_` pixels of level 0. Pixel (row, col) of a
view at downsample d covers the level-0 square [col * d, (col + 1) * d) x [row * d, (row + 1) * d).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike

from ats_cli.records import SlideError
from ats_cli.slides.reader import MPP_BELIEVED, Box, Level, Pixels, Reader
from ats_cli.slides.resample import Taps, axis_taps, resample

# A view is read in blocks of at most this many pixels of the finer level, so that memory does not grow with the slide.
_BLOCK_HEIGHT, _BLOCK_WIDTH = 2048, 4096


class Slide:
    """A tiled or gigapixel image. Nothing but headers is read until pixels are asked for.

    `path`, `bytes_total`: the file and its size. `width`, `height`: level 0. `mpp`: microns per pixel of level 0,
    x and y averaged, None where unknown or not believed; `mpp_source`: "given", or where the file says it.
    """

    def __init__(self, path: Path, reader: Reader, mpp: float | None = None) -> None:
        if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
            raise SlideError(f"{path.name}: {mpp} is no microns-per-pixel. Give a number above 0, like --mpp 0.25.")
        self.path = path
        self.bytes_total = path.stat().st_size
        self._reader = reader
        self.levels: tuple[Level, ...] = reader.levels
        self.width, self.height = self.levels[0].width, self.levels[0].height
        self._mpp_problem = _mpp_problem(path.name, reader.mpp)
        self.mpp: float | None = None
        self.mpp_source: str | None = None
        if mpp is not None:
            self.mpp, self.mpp_source = float(mpp), "given"
        elif reader.mpp is not None and self._mpp_problem is None:
            self.mpp, self.mpp_source = sum(reader.mpp) / 2, reader.mpp_source

    @property
    def reader(self) -> str:
        """The reader's name, one of `records.BACKENDS`."""
        return self._reader.name

    @property
    def vendor(self) -> str:
        return self._reader.vendor

    @property
    def properties(self) -> dict[str, str]:
        return self._reader.properties

    @property
    def bytes_read(self) -> int | None:
        """Bytes read from disk so far; None where the reader cannot know."""
        return self._reader.bytes_read

    @property
    def resident_bytes(self) -> int:
        """Memory that this slide holds between calls."""
        return self._reader.resident_bytes

    @property
    def holds_handle(self) -> bool:
        """Whether a file handle is held between calls: a system lends only so many."""
        return self._reader.holds_handle

    def require_mpp(self) -> float:
        """`mpp`, or the SlideError that says what is the matter with it and what to do."""
        if self.mpp is None:
            raise SlideError(self._mpp_problem or "")
        return self.mpp

    def view_shape(self, downsample: float) -> tuple[int, int]:
        """(rows, cols) of the view at `downsample`: the last row and column may be partial."""
        return _pixels_across(self.height, downsample), _pixels_across(self.width, downsample)

    def read_view(self, downsample: float, rows: tuple[int, int] | None = None, threads: int = 4) -> Pixels:
        """The slide at `downsample` level-0 pixels per pixel, as (rows, cols, 3) uint8 RGB.

        Each pixel is the mean of its square, of the part of it that lies on the slide, taken from the nearest
        finer level. `rows=(start, stop)` reads only these rows of the view; their values are those of the whole.
        """
        v_height, v_width = self.view_shape(downsample)
        start, stop = rows if rows is not None else (0, v_height)
        if not 0 <= start < stop <= v_height:
            raise ValueError(f"rows {start} to {stop} are not inside a view of {v_height} rows")
        level = self._finer_level(downsample)
        scale = _snap(downsample / self.levels[level].downsample)
        v_step_rows, v_step_cols = self._block_shape(level, scale)
        # Blocks begin at whole multiples of the step, on the file's own tiles where the scale allows.
        down = [(edge, self._view_taps(level, 1, scale, edge)) for edge in _edges(start, stop, v_step_rows)]
        across = [(edge, self._view_taps(level, 0, scale, edge)) for edge in _edges(0, v_width, v_step_cols)]
        blocks = list(itertools.product(down, across))
        sources = self._reader.read(level, [_box(rows, cols) for (_, rows), (_, cols) in blocks], threads)
        view = np.empty((stop - start, v_width, 3), dtype=np.uint8)
        for (((top, bottom), rows_taps), ((left, right), cols_taps)), source in zip(blocks, sources, strict=True):
            view[top - start : bottom - start, left:right] = resample(source, rows_taps, cols_taps)
        return view

    def read_at_mpp(self, mpp: float, rows: tuple[int, int] | None = None, threads: int = 4) -> Pixels:
        """`read_view`, by microns per pixel. Raises SlideError where the slide's own mpp is unknown."""
        return self.read_view(mpp / self.require_mpp(), rows, threads)

    def read_tiles(self, boxes: ArrayLike, size: int, fill: int = 255, threads: int = 4) -> Iterator[Pixels]:
        """Yield a (size, size, 3) uint8 patch for each of `boxes`, in order.

        `boxes`: (N, 4) floats, x, y, width, height in level-0 pixels, anywhere; what lies outside the slide counts
        as grey `fill`. Each is resampled from the coarsest level that is at least as fine as the patch. A native
        tile of the file that several boxes share is decoded once.
        """
        wanted = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if not np.isfinite(wanted).all() or (wanted[:, 2:] <= 0).any():
            raise ValueError("boxes must be finite, with widths and heights above 0")
        plans = [self._plan(box, size) for box in wanted.tolist()]
        return self._read_planned(plans, size, fill, threads)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Slide {self.path.name} {self.width}x{self.height}, {len(self.levels)} levels, {self.reader}>"

    def _plan(self, box: list[float], size: int) -> tuple[int, Taps, Taps] | None:
        """(level, rows, cols) for one box; None if it is wholly outside."""
        x, y, width, height = box
        level = self._finer_level(min(width, height) / size)
        d = self.levels[level].downsample
        rows = self._taps(level, 1, y / d, _snap(height / d / size), size, False)
        cols = self._taps(level, 0, x / d, _snap(width / d / size), size, False)
        return None if rows is None or cols is None else (level, rows, cols)

    def _read_planned(
        self, plans: list[tuple[int, Taps, Taps] | None], size: int, fill: int, threads: int
    ) -> Iterator[Pixels]:
        by_level: dict[int, list[Box]] = {}
        for plan in plans:
            if plan is not None:
                by_level.setdefault(plan[0], []).append(_box(plan[1], plan[2]))
        streams = {level: self._reader.read(level, boxes, threads) for level, boxes in by_level.items()}
        for plan in plans:
            if plan is None:
                yield np.full((size, size, 3), fill, dtype=np.uint8)
            else:
                level, rows, cols = plan
                yield resample(next(streams[level]), rows, cols, fill)

    def _finer_level(self, downsample: float) -> int:
        """The coarsest level that is as fine as `downsample` or finer (level 0 if none is)."""
        return max((i for i, lv in enumerate(self.levels) if lv.downsample <= downsample * (1 + 1e-6)), default=0)

    def _view_taps(self, level: int, axis: int, scale: float, edge: tuple[int, int]) -> Taps:
        """Taps of the view's pixels edge[0] to edge[1] along one axis."""
        taps = self._taps(level, axis, 0.0, scale, edge[1] - edge[0], True, edge[0])
        assert taps is not None  # what is normalised is never empty
        return taps

    def _taps(
        self, level: int, axis: int, start: float, scale: float, count: int, normalise: bool, skip: int = 0
    ) -> Taps | None:
        """Taps along x (axis 0) or y (axis 1) of a level; see `axis_taps`."""
        lv = self.levels[level]
        size, l0_size = ((lv.width, self.width), (lv.height, self.height))[axis]
        return axis_taps(start, scale, count, size, l0_size / lv.downsample, normalise, skip)

    def _block_shape(self, level: int, scale: float) -> tuple[int, int]:
        """(rows, cols) of a view that one block of the level gives, whole native tiles where they fit."""
        lv = self.levels[level]
        shape = []
        for tile, limit in ((lv.tile_height, _BLOCK_HEIGHT), (lv.tile_width, _BLOCK_WIDTH)):
            whole = tile if 0 < tile <= limit else 1
            shape.append(max(1, int(limit // whole * whole / scale)))
        return shape[0], shape[1]


def _mpp_problem(name: str, mpp: tuple[float, float] | None) -> str | None:
    """Why the file's microns per pixel are not believed; None if they are."""
    advice = "Give --mpp 0.25 or a column mpp in the manifest."
    if mpp is None:
        return f"{name}: no microns-per-pixel in the file. {advice}"
    x, y = mpp
    low, high = MPP_BELIEVED
    if not (low <= x <= high and low <= y <= high):
        return (
            f"{name}: the file says {x:g} x {y:g} microns per pixel, which is outside {low:g} to {high:g} "
            f"and not believed. {advice}"
        )
    if abs(x - y) > 0.1 * min(x, y):
        return f"{name}: {x:g} microns per pixel across but {y:g} down, pixels that are not square. {advice}"
    return None


def _pixels_across(length: int, downsample: float) -> int:
    """Pixels that cover `length`; a last one that would cover only rounding error is not counted."""
    if not (math.isfinite(downsample) and downsample > 0):
        raise ValueError(f"a downsample must be above 0, not {downsample}")
    return max(1, math.ceil(length / downsample - 1e-6))


def _snap(scale: float) -> float:
    """`scale`, without the rounding error of the division that gave it."""
    whole = float(round(scale))
    return whole if whole and abs(scale - whole) <= 1e-9 * whole else scale


def _edges(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut [start, stop) at the multiples of `step`."""
    while start < stop:
        end = min(stop, (start // step + 1) * step)
        yield start, end
        start = end


def _box(rows: Taps, cols: Taps) -> Box:
    return cols.first, rows.first, cols.stop - cols.first, rows.stop - rows.first
