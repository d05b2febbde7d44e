"""Where the frames of a DICOM file lie. Compressed frames are items, with or without a table of their offsets.

Some writers store a wrong table: zeros, 32 bits above 4 GB, a few bytes off. The items are chained by their lengths, so
some entries of the table are compared with the items when a file is opened, and each other entry when its frame is
read. If they differ, all items are read, one after the other.
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
# Entries of a table to compare with the items when a file is opened.
_COMPARED = 5

Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]


def frame_ranges(size: int, header: Dataset, stream: BinaryIO, frames: int, frame_bytes: int, by_items: bool) -> Ranges:
    """Return offset and bytes of each frame; for compressed frames, with the headers of their items.

    size: bytes of the file. stream: positioned at the pixel data. by_items: ignore the table of offsets.
    Raises SlideError or ValueError if there are no frames, or if items cannot be assigned to frames.
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
    """Yield the contents of the items of a frame. Raises ValueError if its bytes are not whole items."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] != _ITEM_BYTES or at + 8 + length > len(data):
            raise ValueError("an item of its pixels has the wrong length")
        yield data[at + 8 : at + 8 + length]
        at += 8 + length


def whole_items(data: bytes) -> bool:
    """Whether a frame's bytes consist of whole items."""
    try:
        return sum(1 for _ in fragments(data)) > 0
    except ValueError:
        return False


def _numbers(table: bytes, kind: str) -> NDArray[np.int64]:
    each = np.dtype(kind).itemsize
    return np.frombuffer(table[: len(table) // each * each], dtype=kind).astype(np.int64)


def _by_table(stream: BinaryIO, size: int, begin: int, table: NDArray[np.int64]) -> Ranges | None:
    """Return the frames by the table; None if the items contradict it."""
    offsets = begin + table
    if table[0] != 0 or (np.diff(offsets) <= 0).any():
        return None
    for at in offsets[np.unique(np.linspace(0, len(offsets) - 1, _COMPARED, dtype=np.intp))].tolist():
        stream.seek(min(at, size))
        if at < size and _tag_and_length(stream)[0] != _ITEM:  # entries beyond the end belong to a truncated file
            return None
    last = _items(stream, int(offsets[-1]), size)
    if len(last) > 1:
        # The last frame has several items, or the table is one frame short.
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
    """Return (offset, bytes) of each item from `begin` to the end of the pixel data, headers included."""
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
