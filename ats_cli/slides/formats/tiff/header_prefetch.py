"""Walk the chain of directories of a TIFF: prefetch the headers of remote files, and refuse chains that are too long.

The values found are hints only; tifffile parses the headers later. For a remote file each directory costs one round
trip. The long lists that it points to are requested together with the next directory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO, Protocol

from ats_cli.errors import SlideError

# Directories to follow: more than any slide has. It also ends cyclic chains.
_LONGEST_CHAIN = 64
# Bytes requested for a directory and the short values that writers put behind it.
_DIRECTORY_BYTES = 8 * 1024
# Largest value to request, in bytes, of the tags that may be long (description, tables, colour profile), and of others.
_LONG = {270: 1 << 26, 273: 1 << 26, 279: 1 << 26, 324: 1 << 26, 325: 1 << 26, 34675: 1 << 24}
_SHORT_VALUE = 64 * 1024
_SUB_DIRECTORIES = 330
# More directories, and more different image sizes, than any slide has. The time to group images into pyramids grows
# with the square of the number of sizes.
_MOST_DIRECTORIES, _MOST_SIZES = 10_000, 256
_MOST_ENTRIES = 4096
NO_IMAGE = "no image in this TIFF. It was cut short, or never had one: copy or export it again."
_WIDTH, _HEIGHT = 256, 257
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class RangeRequests(Protocol):
    """`request(start, stop)` requests bytes and returns a call that waits for them."""

    def request(self, start: int, stop: int) -> Callable[[], bytes]: ...


def walk_tiff(stream: RangeRequests) -> None:
    """Request every directory of a TIFF and the values it points to. Does nothing for other files."""
    head = stream.request(0, 16)()
    form = _form(head)
    if form is None:
        return
    next_ones = [form.first(head)]
    visited: set[int] = set()
    pending: list[Callable[[], bytes]] = []
    for _ in range(_LONGEST_CHAIN):
        next_ones = [at for at in dict.fromkeys(next_ones) if at and at not in visited]
        if not next_ones:
            break
        visited.update(next_ones)
        directories = [(at, stream.request(at, at + _DIRECTORY_BYTES)) for at in next_ones]
        next_ones = []
        for at, read in directories:
            values, more, following = form.directory(at, read())
            pending += [stream.request(start, stop) for start, stop in values]
            lists = [stream.request(start, stop)() for start, stop in more]
            next_ones += [*following, *(at for data in lists for at in form.offsets(data))]
    for read in pending:
        read()


def refuse_many_directories(stream: BinaryIO) -> None:
    """Raise SlideError for a TIFF with more directories, or with images of more sizes, than any slide has.

    Reads the directories themselves, and none of the values outside them. Raises too where the first one is cut short.
    """
    stream.seek(0)
    head = stream.read(16)
    form = _form(head)
    if len(head) < 16:  # a header and the shortest directory are more
        raise SlideError(NO_IMAGE)
    if form is None:
        return
    named = [form.first(head)]
    visited, sizes, lists = set[int](), set[tuple[int, int]](), 0
    while named:
        at = named.pop()
        if not at or at in visited:
            continue
        visited.add(at)
        stream.seek(at)
        data = stream.read(form.prefix)
        stop = form.length(data)
        if stop > form.longest:
            continue  # not a directory
        data += stream.read(max(0, stop - len(data)))
        # Some writers leave out the offset of the next directory.
        if len(visited) == 1 and len(data) < max(form.prefix, stop - form.wide):
            raise SlideError(NO_IMAGE)
        _, elsewhere, following = form.directory(at, data)
        named += following
        lists += sum(end - start for start, end in elsewhere) // form.wide
        sizes.add(form.size(data))
        if len(visited) + lists > _MOST_DIRECTORIES:
            raise SlideError(
                f"more than {_MOST_DIRECTORIES} directories in this TIFF. Export the image you mean by itself."
            )
        if len(sizes) > _MOST_SIZES:
            raise SlideError(
                f"images of more than {_MOST_SIZES} sizes in this TIFF. Export the one you mean by itself."
            )


def _form(head: bytes) -> _Form | None:
    """Return the number format of a TIFF from its first 16 bytes; None for other files."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 16:
        return None
    (magic,) = struct.unpack(order + "H", head[2:4])
    return _Form(order, big=magic == 43) if magic in (42, 43) else None


class _Form:
    """The byte order and the widths of numbers in a TIFF or BigTIFF."""

    def __init__(self, order: str, big: bool) -> None:
        self._count = order + ("Q" if big else "H")
        self._entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
        self._offset = order + ("Q" if big else "L")
        self.wide = 8 if big else 4
        self.prefix = struct.calcsize(self._count)
        self.longest = self.prefix + _MOST_ENTRIES * self._entry.size + self.wide
        self._short = order + "H"

    def first(self, head: bytes) -> int:
        """Return the offset of the first directory."""
        return self.offset(head[8:16] if self.wide == 8 else head[4:8])

    def length(self, data: bytes) -> int:
        """Return the bytes of a directory that begins with `data`."""
        if len(data) < self.prefix:
            return 0
        (entries,) = struct.unpack(self._count, data[: self.prefix])
        return int(self.prefix + entries * self._entry.size + self.wide)

    def size(self, data: bytes) -> tuple[int, int]:
        """Return (width, height) of a directory's image; 0 for a size that it does not state."""
        found = {_WIDTH: 0, _HEIGHT: 0}
        for start in range(self.prefix, len(data) - self._entry.size - self.wide + 1, self._entry.size):
            code, kind, _, value = self._entry.unpack(data[start : start + self._entry.size])
            if code in found:
                found[code] = struct.unpack(self._short, value[:2])[0] if kind == 3 else self.offset(value)
        return found[_WIDTH], found[_HEIGHT]

    def offset(self, data: bytes) -> int:
        return int(struct.unpack(self._offset, data[: self.wide])[0]) if len(data) >= self.wide else 0

    def offsets(self, data: bytes) -> list[int]:
        return [self.offset(data[i : i + self.wide]) for i in range(0, len(data), self.wide)]

    def directory(self, at: int, data: bytes) -> tuple[list[tuple[int, int]], list[tuple[int, int]], list[int]]:
        """Return (ranges of values outside the directory, ranges of lists of sub-directories, directory offsets)."""
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
            if code == _SUB_DIRECTORIES and size <= self.wide:
                directories += self.offsets(value[:size])
            elif self.wide < size <= _LONG.get(code, _SHORT_VALUE):
                place = self.offset(value)
                (lists if code == _SUB_DIRECTORIES else values).append((place, place + size))
        if end + self.wide <= len(data):
            directories.append(self.offset(data[end : end + self.wide]))
        return values, lists, directories
