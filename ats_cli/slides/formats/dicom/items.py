"""Where the frames of a DICOM file lie: compressed ones are items, with or without a table of their offsets.

Writers get the table wrong: zeros, 32 bits above 4 GB, a few bytes off. The items themselves are chained by their
lengths, so the table is believed where the items bear it out: some of its entries when a file is opened, each of the
others when its frame is read. Else all items are read, one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from ats_cli.errors import SlideError

_PIXEL_DATA, _ITEM = 0x7FE00010, 0xFFFEE000
_ITEM_BYTES = b"\xfe\xff\x00\xe0"
# Entries of a table that are compared with the items when a file is opened.
_COMPARED = 5

Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]


def frame_ranges(size: int, header: Dataset, stream: BinaryIO, frames: int, frame_bytes: int, by_items: bool) -> Ranges:
    """Offset and bytes of each frame that a file of `size` bytes can hold; of a compressed one with the headers of its
    items. `stream` is at the pixels. `by_items`: the table of offsets is left out.

    Raises SlideError or ValueError where there are none, or it is not known which item belongs to which frame.
    """
    syntax = header.file_meta.TransferSyntaxUID
    order: Any = "little" if syntax.is_little_endian else "big"
    tag, _ = _tag_and_length(stream, order, syntax.is_implicit_VR)
    if tag != _PIXEL_DATA:
        raise SlideError("its pixels are not in the file. Copy it again.")
    if not syntax.is_encapsulated:
        begin = stream.tell()
        there = min(frames, -(-(size - begin) // max(frame_bytes, 1)))
        return begin + np.arange(there) * frame_bytes, np.full(there, frame_bytes)
    _, length = _tag_and_length(stream)
    table = stream.read(min(length, size))
    begin = stream.tell()
    extended = header.get("ExtendedOffsetTable")
    found = None
    if not by_items:
        entries = _numbers(extended, "<u8") if extended else _numbers(table, "<u4")
        found = _by_table(stream, size, begin, entries) if len(entries) == frames else None
    return found or _by_items(stream, size, begin, frames)


def fragments(data: bytes) -> Iterator[bytes]:
    """The contents of the items that a frame is made of. Raises ValueError where its bytes are not whole items."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] != _ITEM_BYTES or at + 8 + length > len(data):
            raise ValueError("an item of its pixels has the wrong length")
        yield data[at + 8 : at + 8 + length]
        at += 8 + length


def whole_items(data: bytes) -> bool:
    """Whether a frame's bytes are items from the first to the last byte."""
    try:
        return sum(1 for _ in fragments(data)) > 0
    except ValueError:
        return False


def _numbers(table: bytes, kind: str) -> NDArray[np.int64]:
    each = np.dtype(kind).itemsize
    return np.frombuffer(table[: len(table) // each * each], dtype=kind).astype(np.int64)


def _by_table(stream: BinaryIO, size: int, begin: int, table: NDArray[np.int64]) -> Ranges | None:
    """The frames as a table has them; None where the items do not bear it out."""
    offsets = begin + table
    if table[0] != 0 or (np.diff(offsets) <= 0).any():
        return None
    for at in offsets[np.unique(np.linspace(0, len(offsets) - 1, _COMPARED, dtype=np.intp))].tolist():
        stream.seek(min(at, size))
        if at < size and _tag_and_length(stream)[0] != _ITEM:  # what lies beyond the end was cut off
            return None
    last = _items(stream, int(offsets[-1]), size)
    if len(last) > 1:
        # A last frame in several pieces, or a table that is one frame behind.
        items = _items(stream, begin, size)
        if len(items) == len(offsets):
            return _ranges(items)
    return offsets, np.diff(np.append(offsets, sum(last[-1]) if last else offsets[-1] + 8))


def _by_items(stream: BinaryIO, size: int, begin: int, frames: int) -> Ranges:
    items = _items(stream, begin, size)
    if not items:
        raise ValueError("it has no frames")
    if frames == 1:
        return np.array([begin]), np.array([sum(items[-1]) - begin])
    if len(items) > frames:
        raise SlideError("frames in several pieces without a sound table of offsets are not read. Convert it.")
    return _ranges(items)


def _ranges(items: list[tuple[int, int]]) -> Ranges:
    return np.array([at for at, _ in items], dtype=np.int64), np.array([count for _, count in items], dtype=np.int64)


def _items(stream: BinaryIO, begin: int, size: int) -> list[tuple[int, int]]:
    """(offset, bytes) of each item from `begin` to the end of the pixels, their headers counted in."""
    found = []
    while begin < size:
        stream.seek(begin)
        tag, length = _tag_and_length(stream)
        if tag != _ITEM:
            break
        found.append((begin, 8 + length))
        begin += 8 + length
    return found


def _tag_and_length(stream: BinaryIO, order: Any = "little", implicit: bool = True) -> tuple[int, int]:
    raw = stream.read(8 if implicit else 12)
    if len(raw) < 8:
        return 0, 0
    tag = int.from_bytes(raw[:2], order) << 16 | int.from_bytes(raw[2:4], order)
    return tag, int.from_bytes(raw[-4:], order)
