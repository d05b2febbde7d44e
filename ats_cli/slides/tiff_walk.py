"""Ask for all headers of a TIFF far away: its directories may lie anywhere, one naming the next.

Nothing here is believed. It only sees to it that whoever reads the headers after finds them here: a directory costs one
round trip, and the long lists that it names come at the same time as the next directory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

# Directories one after the other; more than any slide has, and a chain that bites its tail ends too.
_LONGEST_CHAIN = 64
# A directory and the short values that writers put behind it.
_DIRECTORY_BYTES = 8 * 1024
# What may be long: description, tables of strips and of tiles, colour profile. Of others, the short ones are asked for.
_LONG = {270: 1 << 26, 273: 1 << 26, 279: 1 << 26, 324: 1 << 26, 325: 1 << 26, 34675: 1 << 24}
_SHORT_VALUE = 64 * 1024
_SUB_DIRECTORIES = 330
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class Asks(Protocol):
    """`ask(start, stop)` begins to get bytes; the call that it returns waits for them."""

    def ask(self, start: int, stop: int) -> Callable[[], bytes]: ...


def walk_tiff(stream: Asks) -> None:
    """Ask for every directory of a TIFF and all that it names. Of a file that is none, for nothing."""
    head = stream.ask(0, 16)()
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return
    (magic,) = struct.unpack(order + "H", head[2:4])
    if magic not in (42, 43):
        return
    form = _Form(order, big=magic == 43)
    next_ones = [form.offset(head[8:16] if magic == 43 else head[4:8])]
    seen: set[int] = set()
    pending: list[Callable[[], bytes]] = []
    for _ in range(_LONGEST_CHAIN):
        next_ones = [at for at in dict.fromkeys(next_ones) if at and at not in seen]
        if not next_ones:
            break
        seen.update(next_ones)
        directories = [(at, stream.ask(at, at + _DIRECTORY_BYTES)) for at in next_ones]
        next_ones = []
        for at, read in directories:
            values, more, following = form.directory(at, read())
            pending += [stream.ask(start, stop) for start, stop in values]
            next_ones += [*following, *(at for start, stop in more for at in form.offsets(stream.ask(start, stop)()))]
    for read in pending:
        read()


class _Form:
    """How numbers are written in this file."""

    def __init__(self, order: str, big: bool) -> None:
        self._count = order + ("Q" if big else "H")
        self._entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
        self._offset = order + ("Q" if big else "L")
        self._wide = 8 if big else 4

    def offset(self, data: bytes) -> int:
        return int(struct.unpack(self._offset, data[: self._wide])[0]) if len(data) >= self._wide else 0

    def offsets(self, data: bytes) -> list[int]:
        return [self.offset(data[i : i + self._wide]) for i in range(0, len(data), self._wide)]

    def directory(self, at: int, data: bytes) -> tuple[list[tuple[int, int]], list[tuple[int, int]], list[int]]:
        """(where values lie that are not in the directory, where lists of sub-directories lie, directories named)."""
        first = struct.calcsize(self._count)
        if len(data) < first:
            return [], [], []
        (entries,) = struct.unpack(self._count, data[:first])
        end = first + entries * self._entry.size
        values: list[tuple[int, int]] = []
        lists: list[tuple[int, int]] = []
        directories: list[int] = []
        for start in range(first, min(end, len(data) - self._entry.size + 1), self._entry.size):
            code, kind, count, value = self._entry.unpack(data[start : start + self._entry.size])
            size = _BYTES_OF_TYPE.get(kind, 0) * count
            if code == _SUB_DIRECTORIES and size <= self._wide:
                directories += self.offsets(value[:size])
            elif self._wide < size <= _LONG.get(code, _SHORT_VALUE):
                place = self.offset(value)
                (lists if code == _SUB_DIRECTORIES else values).append((place, place + size))
        if end + self._wide <= len(data):
            directories.append(self.offset(data[end : end + self._wide]))
        return values, lists, directories
