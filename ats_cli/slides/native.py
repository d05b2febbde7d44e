"""Boxes of a level put together from the file's own tiles, each read and decoded once for all boxes that want it.

Native tiles are numbered along the rows, from the level's corner.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ats_cli.slides.reader import Box, Damage, Level, Pixels, Region

# Native tiles of one window of boxes. Two windows are held at a time, so that memory does not grow with their number.
_WINDOW_BYTES = 96 * 1024 * 1024


def tiles_across(lv: Level) -> int:
    return -(-lv.width // lv.tile_width)


def tiles_down(lv: Level) -> int:
    return -(-lv.height // lv.tile_height)


def read_tiled(
    lv: Level,
    boxes: Sequence[Box],
    decode: Callable[[int], Pixels | str],
    threads: int,
    ask: Callable[[set[int]], Sequence[int]] = sorted,
) -> Iterator[Region]:
    """Yield the region under each box of level `lv`, in order.

    `decode(tile)`: a native tile as RGB, at least what of it lies on the level, or a sentence where it cannot be
    read; called in threads, a window of boxes ahead of the one that is asked for. `ask(tiles)` comes before: the native
    tiles that will be decoded next, to be given back in the order in which they come best.
    """
    across = tiles_across(lv)
    wanted = [_tiles_under(box, lv, across) for box in boxes]
    users = Counter(itertools.chain.from_iterable(wanted))
    tiles: dict[int, Future[Pixels | str]] = {}

    def order(window: list[int]) -> None:
        new = {t for i in window for t in wanted[i]} - tiles.keys()
        for tile in ask(new):
            tiles[tile] = pool.submit(decode, tile)

    windows = _windows(wanted, lv.tile_width * lv.tile_height * 3)
    with _workers(threads) as pool:
        try:
            order(window := next(windows, []))
            while window:
                # The next window is decoded while this one is used.
                order(ahead := next(windows, []))
                for i in window:
                    yield _paste(boxes[i], lv, across, {t: tiles[t].result() for t in wanted[i]})
                    for tile in wanted[i]:
                        users[tile] -= 1
                        if not users[tile]:
                            del tiles[tile]
                window = ahead
        finally:
            for future in tiles.values():
                future.cancel()


class _Here(Executor):
    """Does the work at once, in the caller's thread: a caller that asks for one thread has its own others."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def _workers(threads: int) -> Executor:
    return ThreadPoolExecutor(threads) if threads > 1 else _Here()


def _tiles_under(box: Box, lv: Level, across: int) -> list[int]:
    x, y, width, height = box
    cols = range(x // lv.tile_width, (x + width - 1) // lv.tile_width + 1)
    rows = range(y // lv.tile_height, (y + height - 1) // lv.tile_height + 1)
    return [row * across + col for row in rows for col in cols]


def _windows(wanted: list[list[int]], tile_bytes: int) -> Iterator[list[int]]:
    """Runs of boxes whose native tiles fit into memory together (one box at least)."""
    window: list[int] = []
    seen: set[int] = set()
    for i, tiles in enumerate(wanted):
        if window and len(seen.union(tiles)) * tile_bytes > _WINDOW_BYTES:
            yield window
            window, seen = [], set()
        window.append(i)
        seen.update(tiles)
    if window:
        yield window


def _paste(box: Box, lv: Level, across: int, tiles: dict[int, Pixels | str]) -> Region:
    """The box, put together from the native tiles under it."""
    x, y, width, height = box
    out: Pixels | None = None
    damage = []
    for tile, pixels in tiles.items():
        row, col = divmod(tile, across)
        left, top = col * lv.tile_width, row * lv.tile_height
        x0, x1 = max(x, left), min(x + width, left + lv.tile_width)
        y0, y1 = max(y, top), min(y + height, top + lv.tile_height)
        if isinstance(pixels, str):
            damage.append(Damage((x0, y0, x1 - x0, y1 - y0), pixels))
            pixels = np.full((lv.tile_height, lv.tile_width, 3), 255, dtype=np.uint8)
        part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        if len(tiles) == 1:
            return Region(part, tuple(damage))
        if out is None:
            out = np.empty((height, width, 3), dtype=np.uint8)
        out[y0 - y : y1 - y, x0 - x : x1 - x] = part
    assert out is not None  # a box has a tile under it
    return Region(out, tuple(damage))
