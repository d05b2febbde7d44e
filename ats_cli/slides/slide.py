"""A slide: an image with several levels. This file holds its geometry; a `Reader` reads the pixels.

Frames, by prefix: `v_` pixels of a view, `l_` pixels of a level, `l0_` pixels of level 0. Pixel (row, col) of a
view at downsample d covers the level-0 square [col * d, (col + 1) * d) x [row * d, (row + 1) * d).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.mpp import mpp_problem
from ats_cli.slides.naming_reader import naming_reader
from ats_cli.slides.pixels.absence import Absence
from ats_cli.slides.pixels.geometry import edges, pixels_across, snap, touched
from ats_cli.slides.pixels.holes import Holes
from ats_cli.slides.pixels.resample import Taps, resample
from ats_cli.slides.pyramid import Pyramid
from ats_cli.slides.reader import Box, Damage, Level, Pixels, Reader, Region
from ats_cli.slides.regions.frame import Bounds, stated_bounds
from ats_cli.slides.remote.path import AnyPath
from ats_cli.slides.thread_pool import in_order


class View(NamedTuple):
    """The slide at low resolution, (rows, cols, 3) uint8 RGB, and which pixels could not be read, (rows, cols) bool.

    problem: why the first of them could not, as a sentence; None if all were read.
    """

    pixels: Pixels
    unreadable: NDArray[np.bool_]
    problem: str | None


class Unreadable(NamedTuple):
    """Stands in for a patch that cannot be read. `reason` is a sentence."""

    reason: str


class Slide:
    """A tiled or gigapixel image. Opening it reads headers only.

    path: the file or URL.
    identity: seeds the draws over this slide; usually the file's name.
    width, height: of level 0. bounds: the part of level 0 with pictures, if the file states it; QuPath shows only that.
    mpp: microns per pixel of level 0, x and y averaged; None if unknown or outside the accepted range.
    mpp_source: "given", or the field of the file that states it.
    """

    def __init__(self, path: AnyPath, reader: Reader, mpp: float | None = None) -> None:
        if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
            raise SlideError(f"{mpp} is no microns-per-pixel. Give a number above 0, like --mpp 0.25.", name=path.name)
        self.path = path
        self.on_close: Callable[[], object] | None = None
        self.reopened_by: tuple[Callable[..., Slide], tuple[Any, ...]] | None = None  # when it is pickled
        self._reader = reader = naming_reader(path.name, reader)
        self.identity = reader.identity or path.name
        self.levels: tuple[Level, ...] = reader.levels
        self._all_levels = reader.levels + reader.reduced
        self._pyramid = Pyramid(reader.levels, reader.reduced)
        self._holes = Holes(
            self._all_levels, len(self.levels), self._pyramid.next_finer, reader.absent, reader.absent_is_white
        )
        self.width, self.height = self.levels[0].width, self.levels[0].height
        self.bounds: Bounds | None = stated_bounds(reader.properties)
        self._mpp_problem = mpp_problem(reader.mpp)
        self.mpp: float | None = None
        self.mpp_source: str | None = None
        if mpp is not None:
            self.mpp, self.mpp_source = float(mpp), "given"
        elif reader.mpp is not None and self._mpp_problem is None:
            self.mpp, self.mpp_source = sum(reader.mpp) / 2, reader.mpp_source

    @property
    def reader(self) -> str:
        """The name of the format that reads it, one of `registry.FORMATS`."""
        return self._reader.name

    @property
    def vendor(self) -> str:
        return self._reader.vendor

    @property
    def plane(self) -> str | None:
        """The plane that is shown, like "z=2 of 5"; None if the file has only one."""
        return self._reader.plane

    def color_profile(self) -> bytes | None:
        """Return the ICC profile embedded in the file; None if there is none."""
        return self._reader.color_profile()

    @property
    def properties(self) -> dict[str, str]:
        return self._reader.properties

    @property
    def bytes_total(self) -> int | None:
        return self._reader.bytes_total

    @property
    def bytes_read(self) -> int | None:
        """Bytes read from the disk or the network so far; None if the reader does not count them."""
        return self._reader.bytes_read

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory that this slide holds between calls."""
        return self._reader.resident_bytes

    @property
    def holds_handle(self) -> bool:
        """Whether the slide keeps a file handle open between calls. Systems limit their number."""
        return self._reader.holds_handle

    def require_mpp(self) -> float:
        """Return `mpp`. Raises SlideError, which says why it is not known and what to do."""
        if self.mpp is None:
            raise SlideError(self._mpp_problem or "", "no scale", self.path.name)
        return self.mpp

    def view_shape(self, downsample: float) -> tuple[int, int]:
        """Return (rows, cols) of the view at `downsample`. The last row and column may cover partial squares."""
        return pixels_across(self.height, downsample), pixels_across(self.width, downsample)

    def read_view(self, downsample: float, rows: tuple[int, int] | None = None, threads: int = 4) -> Pixels:
        """Return the pixels of `scan_view`. Raises SlideError if any of them cannot be read."""
        view = self.scan_view(downsample, rows, threads)
        if view.problem:
            raise SlideError(view.problem)
        return view.pixels

    def scan_view(self, downsample: float, rows: tuple[int, int] | None = None, threads: int = 4) -> View:
        """Return the slide at `downsample` level-0 pixels per pixel, with the pixels that cannot be read marked.

        Each pixel is the mean of the part of its square that lies on the slide, taken from the nearest finer level.
        Where that level is damaged, the next finer one serves.

        rows: (start, stop) reads only these rows of the view. Their values equal those of the whole view.
        """
        v_height, v_width = self.view_shape(downsample)
        start, stop = rows if rows is not None else (0, v_height)
        if not 0 <= start < stop <= v_height:
            raise ValueError(f"rows {start} to {stop} are not inside a view of {v_height} rows")
        return self._window(
            self._pyramid.finer_level(downsample, for_view=True), downsample, (start, stop), (0, v_width), threads
        )

    def read_at_mpp(self, mpp: float, rows: tuple[int, int] | None = None, threads: int = 4) -> Pixels:
        """Return `read_view` at a scale in microns per pixel. Raises SlideError if the slide's own mpp is unknown."""
        return self.read_view(mpp / self.require_mpp(), rows, threads)

    def read_tiles(self, boxes: ArrayLike, size: int, fill: int = 255, threads: int = 4) -> Iterator[Pixels]:
        """Yield the patches of `scan_tiles`; copy one before changing it. Raises SlideError for a damaged one."""
        patches = self.scan_tiles(boxes, size, fill, threads)
        return (_readable(patch) for patch in patches)

    def scan_tiles(
        self, boxes: ArrayLike, size: int, fill: int = 255, threads: int = 4
    ) -> Iterator[Pixels | Unreadable]:
        """Yield a (size, size, 3) uint8 patch for each box, in order, or `Unreadable`.

        Each patch is resampled from the coarsest level that is at least as fine as the patch; where that level is
        damaged, from a finer one. A native tile that several boxes share is decoded once.

        boxes: (N, 4) floats, x, y, width, height in level-0 pixels; they may reach beyond the slide.
        fill: grey of the pixels outside the slide.
        """
        l0_boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if not np.isfinite(l0_boxes).all() or (l0_boxes[:, 2:] <= 0).any():
            raise ValueError("boxes must be finite, with widths and heights above 0")
        copied = self._copied(l0_boxes, size, threads)
        return copied if copied is not None else self._read_planned(l0_boxes.tolist(), size, fill, threads)

    def scan_level(self, level: int, boxes: Sequence[Box], threads: int = 4) -> Iterator[Region]:
        """Yield the region under each box, in pixels of the level and inside its bounds, without resampling."""
        return self._read(level, boxes, threads)

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        """Return which native tiles of a level the file's index leaves out, (tile rows, tile cols) bool; None: none."""
        return self._reader.absent(level)

    def absence(self, downsample: float) -> Absence | None:
        """Return which places of tiles at `downsample` level-0 pixels per pixel show background, by the file's index.

        None if the file holds all of its native tiles, or its index does not say.
        """
        return self._holes.absence(self._pyramid.finer_level(downsample))

    def close(self) -> None:
        self._reader.close()
        if self.on_close is not None:
            self.on_close()

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> str | tuple[Any, ...]:
        return self.reopened_by or super().__reduce__()

    def __repr__(self) -> str:
        return f"<Slide {self.path.name} {self.width}x{self.height}, {len(self.levels)} levels, {self.reader}>"

    def _read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        """Yield the region under each box. Native tiles that only a finer level holds are marked as damage."""
        return self._holes.filled(level, boxes, self._reader.read(level, boxes, threads))

    def _window(
        self, level: int, downsample: float, rows: tuple[int, int], cols: tuple[int, int], threads: int
    ) -> View:
        """Return rows and columns of a view, read from `level` and, where that is damaged, from finer levels."""
        scale = snap(downsample / self._all_levels[level].downsample)
        v_step_rows, v_step_cols = self._pyramid.block_shape(level, scale)
        # Blocks begin at multiples of the step, which are edges of native tiles where the scale allows.
        down = [(edge, self._pyramid.view_taps(level, 1, scale, edge)) for edge in edges(*rows, v_step_rows)]
        across = [(edge, self._pyramid.view_taps(level, 0, scale, edge)) for edge in edges(*cols, v_step_cols)]
        blocks = list(itertools.product(down, across))
        regions = self._read(level, [_box(r, c) for (_, r), (_, c) in blocks], threads)
        pixels = np.empty((rows[1] - rows[0], cols[1] - cols[0], 3), dtype=np.uint8)
        unreadable = np.zeros(pixels.shape[:2], dtype=np.bool_)

        def place(block: tuple[Any, Any], region: Region) -> tuple[Damage, ...]:
            ((top, bottom), r), ((left, right), c) = block
            pixels[top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]] = resample(region.pixels, r, c)
            return region.damage

        tasks = (partial(place, block, region) for block, region in zip(blocks, regions, strict=True))
        # Copying needs no threads: the caller copies while it waits for the tiles.
        damage = [part for parts in in_order(tasks, 1 if scale == 1 else threads, threads) for part in parts]
        problem = None
        for box, reason in damage:
            lv = self._all_levels[level]
            v_rows = touched(box[1], box[3], lv.height, scale, rows)
            v_cols = touched(box[0], box[2], lv.width, scale, cols)
            part = slice(v_rows[0] - rows[0], v_rows[1] - rows[0]), slice(v_cols[0] - cols[0], v_cols[1] - cols[0])
            next_finer = self._pyramid.next_finer(level)
            if next_finer is not None:
                finer = self._window(next_finer, downsample, v_rows, v_cols, threads)
                pixels[part], unreadable[part] = finer.pixels, finer.unreadable
                problem = problem or finer.problem
            else:
                unreadable[part] = True
                problem = problem or reason
        return View(pixels, unreadable, problem)

    def _read_planned(
        self, boxes: list[list[float]], size: int, fill: int, threads: int
    ) -> Iterator[Pixels | Unreadable]:
        finer = {side: self._pyramid.finer_level(side / size) for side in {min(box[2:]) for box in boxes}}
        levels = [finer[min(box[2:])] for box in boxes]
        plans = [self._pyramid.plan(box, size, level) for box, level in zip(boxes, levels, strict=True)]
        by_level: dict[int, list[Box]] = {}
        for plan, level in zip(plans, levels, strict=True):
            if plan is not None:
                by_level.setdefault(level, []).append(_box(*plan))
        streams = {level: self._read(level, l_boxes, threads) for level, l_boxes in by_level.items()}
        tasks = (
            partial(self._patch, box, level, plan, None if plan is None else next(streams[level]), size, fill)
            for box, plan, level in zip(boxes, plans, levels, strict=True)
        )
        return in_order(tasks, threads, 2 * threads)

    def _copied(self, boxes: NDArray[np.float64], size: int, threads: int) -> Iterator[Pixels | Unreadable] | None:
        """Return the patches if all boxes lie on whole pixels of one level, so that patches are copies; else None."""
        if not len(boxes) or (boxes[:, 2:] != boxes[0, 2]).any():
            return None
        level = self._pyramid.finer_level(boxes[0, 2] / size)
        lv = self.levels[level]
        on_level = boxes / lv.downsample
        whole = on_level.astype(np.int64)
        ends = min(lv.width, self.width / lv.downsample), min(lv.height, self.height / lv.downsample)
        inside = (whole[:, :2] >= 0).all() and (whole[:, :2] + size <= ends).all()
        if not inside or (whole != on_level).any() or whole[0, 2] != size:
            return None
        regions = self._read(level, list(map(tuple, whole.tolist())), threads)
        return (
            self._patch(box, level, self._pyramid.plan(box, size, level), region, size, 0)
            if region.damage
            else region.pixels
            for box, region in zip(boxes.tolist(), regions, strict=True)
        )

    def _patch(
        self, box: list[float], level: int, plan: tuple[Taps, Taps] | None, region: Region | None, size: int, fill: int
    ) -> Pixels | Unreadable:
        """Return the patch of one box from its region; from a finer level if the region is damaged."""
        if plan is None or region is None:
            return np.full((size, size, 3), fill, dtype=np.uint8)
        while region.damage and level:
            level -= 1
            plan = self._pyramid.plan(box, size, level) or plan
            region = next(self._read(level, [_box(*plan)], 1))
        return Unreadable(region.damage[0].reason) if region.damage else resample(region.pixels, *plan, fill)


def _readable(patch: Pixels | Unreadable) -> Pixels:
    """Return the patch, read-only if it shares memory with others. Raises SlideError if it cannot be read."""
    if isinstance(patch, Unreadable):
        raise SlideError(patch.reason)
    if patch.base is not None:
        patch = patch.view()
        patch.flags.writeable = False
    return patch


def _box(rows: Taps, cols: Taps) -> Box:
    return cols.first, rows.first, cols.stop - cols.first, rows.stop - rows.first
