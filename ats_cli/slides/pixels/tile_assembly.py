"""Assemble regions from native tiles. Each tile is read and decoded once for all boxes that overlap it.

Native tiles are numbered along rows, from the level's corner.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ats_cli.slides.reader import Box, Damage, Level, Pixels, Region

# Bytes of the boxes in one window. Two windows are in memory at a time, for any number of boxes.
_WINDOW_BYTES = 24 * 1024 * 1024
# Bytes of decoded tiles to cache for further boxes. Tiles beyond it are decoded again.
_SHARED_BYTES = 128 * 1024 * 1024
_BOXES_AT_ONCE = 8


def tiles_across(lv: Level) -> int:
    return -(-lv.width // lv.tile_width)


def tiles_down(lv: Level) -> int:
    return -(-lv.height // lv.tile_height)


def read_tiled(
    lv: Level,
    boxes: Sequence[Box],
    decode: Callable[[int], Pixels | str],
    threads: int,
    request: Callable[[set[int]], Sequence[int]] = sorted,
) -> Iterator[Region]:
    """Yield the region under each box of level `lv`, in order.

    decode: returns a native tile as RGB, at least the part inside the level; as a sentence, why it cannot be read. It
        is called in threads, up to a window of boxes ahead.
    request: gets the native tiles that will be decoded next, and returns them in the best order of decoding.
    """
    across = tiles_across(lv)
    tiles_of_box = [_tiles_under(box, lv, across) for box in boxes]
    users = Counter(itertools.chain.from_iterable(tiles_of_box))
    shared = _Shared(decode, {tile: count for tile, count in users.items() if count > 1}, _tile_bytes(lv))

    requested: set[int] = set()

    def region(i: int) -> Region:
        return _paste(boxes[i], lv, across, tiles_of_box[i], shared.get)

    def begin(window: range) -> list[int]:
        new = {tile for i in window for tile in tiles_of_box[i]} - requested
        requested.update(new)
        rank = {tile: number for number, tile in enumerate(request(new))}
        return sorted(window, key=lambda i: min((rank[t] for t in tiles_of_box[i] if t in rank), default=0))

    windows = _windows(boxes)
    if threads <= 1:
        # In the caller's thread.
        for window in windows:
            order, done = iter(begin(window)), {}
            for i in window:
                while i not in done:
                    following = next(order)
                    done[following] = region(following)
                yield done.pop(i)
        return

    def regions(some: list[int]) -> dict[int, Region]:
        return {i: region(i) for i in some}

    pending: deque[tuple[range, dict[int, Future[dict[int, Region]]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for window in windows:
                submitted = [(some, pool.submit(regions, some)) for some in _shares(begin(window), threads)]
                pending.append((window, {i: future for some, future in submitted for i in some}))
                if len(pending) > 1:  # decode the next window while the caller uses this one
                    yield from _in_order(*pending.popleft())
            while pending:
                yield from _in_order(*pending.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Shared:
    """A cache of decoded tiles. A tile that several boxes overlap stays until the last of them has used it."""

    def __init__(self, decode: Callable[[int], Pixels | str], users: dict[int, int], tile_bytes: int) -> None:
        self._decode, self._users = decode, users
        self._locks = {tile: threading.Lock() for tile in users}
        self._cached: dict[int, Pixels | str] = {}
        self._capacity = _SHARED_BYTES // tile_bytes

    def get(self, tile: int) -> Pixels | str:
        if tile not in self._locks:
            return self._decode(tile)
        with self._locks[tile]:
            pixels = self._cached.pop(tile, None)
            if pixels is None:
                pixels = self._decode(tile)
            self._users[tile] -= 1
            if self._users[tile] and len(self._cached) < self._capacity:
                self._cached[tile] = pixels
            return pixels


def _shares(order: list[int], threads: int) -> Iterator[list[int]]:
    """Yield groups of boxes for threads. Submitting a single box costs a tenth of its decoding."""
    count = max(1, min(_BOXES_AT_ONCE, len(order) // (4 * threads)))
    return (order[start : start + count] for start in range(0, len(order), count))


def _in_order(window: range, pending: dict[int, Future[dict[int, Region]]]) -> Iterator[Region]:
    for i in window:
        yield pending[i].result().pop(i)


def _tiles_under(box: Box, lv: Level, across: int) -> list[int]:
    x, y, width, height = box
    cols = range(x // lv.tile_width, (x + width - 1) // lv.tile_width + 1)
    rows = range(y // lv.tile_height, (y + height - 1) // lv.tile_height + 1)
    return [row * across + col for row in rows for col in cols]


def _tile_bytes(lv: Level) -> int:
    return lv.tile_width * lv.tile_height * 3


def _windows(boxes: Sequence[Box]) -> Iterator[range]:
    """Yield runs of boxes that fit into one window, each with at least one box."""
    start = size = 0
    for i, (_, _, width, height) in enumerate(boxes):
        if i > start and size + width * height * 3 > _WINDOW_BYTES:
            yield range(start, i)
            start, size = i, 0
        size += width * height * 3
    if boxes:
        yield range(start, len(boxes))


def _paste(box: Box, lv: Level, across: int, tiles: list[int], get: Callable[[int], Pixels | str]) -> Region:
    """Assemble the region of a box from the native tiles under it."""
    x, y, width, height = box
    if len(tiles) == 1 and (width, height) == (lv.tile_width, lv.tile_height):
        pixels = get(tiles[0])
        if not isinstance(pixels, str):
            return Region(pixels[:height, :width])
        return Region(np.full((height, width, 3), 255, dtype=np.uint8), (Damage(box, pixels),))
    out: Pixels | None = None
    damage = []
    for tile in tiles:
        row, col = divmod(tile, across)
        left, top = col * lv.tile_width, row * lv.tile_height
        x0, x1 = max(x, left), min(x + width, left + lv.tile_width)
        y0, y1 = max(y, top), min(y + height, top + lv.tile_height)
        pixels = get(tile)
        if isinstance(pixels, str):
            damage.append(Damage((x0, y0, x1 - x0, y1 - y0), pixels))
            pixels = np.full((lv.tile_height, lv.tile_width, 3), 255, dtype=np.uint8)
        part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        if len(tiles) == 1:
            return Region(part, tuple(damage))
        if out is None:
            out = np.empty((height, width, 3), dtype=np.uint8)
        out[y0 - y : y1 - y, x0 - x : x1 - x] = part
    assert out is not None  # a box overlaps at least one tile
    return Region(out, tuple(damage))
