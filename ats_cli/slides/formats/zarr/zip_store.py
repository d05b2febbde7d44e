"""A zip as a Zarr store, by its central directory. Each request is one read of the requested bytes only."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import reads_at

_MOST_MEMBERS = 1 << 23
_MOST_DIRECTORY = 1 << 30
_PIECE = 1 << 20
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_END, _LOCATOR, _END_64 = b"PK\5\6", b"PK\6\7", b"PK\6\6"
_MEMBER = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s22x2H")

_ReadAt = Callable[[int, int], bytes]


class _Member(NamedTuple):
    """A file in the zip. `start`: offset of its local header. `packed`, `size`: compressed and uncompressed bytes."""

    start: int
    method: int
    flags: int
    crc: int
    packed: int
    size: int


class ZipFolder(Store):
    """The files in a zip, read-only. Raises SlideError if the zip is not whole.

    Members are stored or deflated. Memory is allocated for the requested bytes, not for the sizes that the zip states.
    """

    supports_writes = supports_deletes = False
    supports_listing = True

    def __init__(self, path: Path) -> None:
        super().__init__(read_only=True)
        self._path = path
        self._file = io.FileIO(path)
        self._read_at = reads_at(self._file)
        try:
            self._directory, self._shift = _directory(self._read_at, path.stat().st_size)
            self._at = _members(self._directory)
        except (ValueError, struct.error, OSError):
            self.close()
            raise SlideError("neither a folder of Zarr nor a whole zip of one. Copy it again.") from None
        if len(self._at) > _MOST_MEMBERS:
            self.close()
            raise SlideError(f"a zip of more than {_MOST_MEMBERS:,} files. Unpack it.")

    @property
    def names(self) -> Iterable[str]:
        return self._at.keys()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipFolder) and other._path == self._path

    def close(self) -> None:
        super().close()
        self._file.close()

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        at = self._at.get(key)
        if at is None:
            return None
        member = _member(self._directory, at)
        start, stop = _span(byte_range, member.size)
        return prototype.buffer.from_bytes(self._read(member, start, stop))

    def _read(self, member: _Member, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of a member. Raises ValueError if it is damaged or its compression unsupported."""
        signature, name, extra = _LOCAL.unpack(self._read_at(member.start + self._shift, _LOCAL.size))
        if signature != b"PK\3\4" or member.flags & _ENCRYPTED or member.method not in (_STORED, _DEFLATED):
            raise ValueError("the zip is damaged, encrypted, or its files are neither stored nor deflated")
        begin = member.start + self._shift + _LOCAL.size + name + extra
        if member.method == _STORED:
            data = _exactly(self._read_at, begin + start, min(stop, member.size, member.packed) - start)
        else:
            data = b"".join(_inflated(self._read_at, begin, member.packed, start, min(stop, member.size)))
        if start == 0 and stop >= member.size and (len(data) != member.size or zlib.crc32(data) != member.crc):
            raise ValueError("its checksum in the zip differs")
        return data

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, span) for key, span in key_ranges]

    async def exists(self, key: str) -> bool:
        return key in self._at

    async def set(self, key: str, value: Buffer) -> None:
        raise PermissionError("a zip is only read")

    async def delete(self, key: str) -> None:
        raise PermissionError("a zip is only read")

    def list(self) -> AsyncIterator[str]:
        return self.list_prefix("")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for name in self._at:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        within = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
        below = (name[len(within) :] for name in self._at if name.startswith(within))
        for child in dict.fromkeys(name.partition("/")[0] for name in below):
            if child:
                yield child


def _directory(read_at: _ReadAt, size: int) -> tuple[bytes, int]:
    """Return the central directory, and the bytes before the zip, which are added to all its offsets."""
    tail_at = max(0, size - (1 << 16) - 22)
    tail = read_at(tail_at, size - tail_at)
    end = tail.rindex(_END)
    length, start, comment = struct.unpack_from("<IIH", tail, end + 12)
    if end + 22 + comment > len(tail):
        raise ValueError("cut short")
    end_at = tail_at + end
    if end >= 20 and tail.startswith(_LOCATOR, end - 20):
        (at,) = struct.unpack_from("<Q", tail, end - 12)
        last = read_at(at, 56)
        if not last.startswith(_END_64):  # bytes before the zip
            at = end_at - 76
            last = read_at(at, 56)
        if not last.startswith(_END_64):
            raise ValueError("no end of the central directory")
        length, start = struct.unpack_from("<QQ", last, 40)
        end_at = at
    if length > min(end_at, _MOST_DIRECTORY):
        raise ValueError("the central directory is larger than the file")
    return _exactly(read_at, end_at - length, length), end_at - length - start


def _members(directory: bytes) -> dict[str, int]:
    """Return the offset of each name in the central directory."""
    found: dict[str, int] = {}
    at, end = 0, len(directory)
    lengths = struct.Struct("<3H")
    while at < end:
        if not directory.startswith(b"PK\1\2", at):
            raise ValueError("the central directory is damaged")
        name, extra, comment = lengths.unpack_from(directory, at + 28)
        found[directory[at + 46 : at + 46 + name].decode("utf-8", "replace")] = at
        at += 46 + name + extra + comment
    return found


def _member(directory: bytes, at: int) -> _Member:
    fields = _MEMBER.unpack_from(directory, at)
    flags, method, crc, packed, size, name, extra, start = (fields[i] for i in (3, 4, 7, 8, 9, 10, 11, 16))
    long = _long_fields(directory[at + 46 + name : at + 46 + name + extra])
    size, packed, start = (next(long, value) if value == 0xFFFFFFFF else value for value in (size, packed, start))
    return _Member(start, method, flags, crc, packed, size)


def _long_fields(extra: bytes) -> Iterator[int]:
    """Yield the 8-byte numbers of the Zip64 field, in their order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = extra[at + 4 : at + 4 + length]
            yield from (value for (value,) in struct.iter_unpack("<Q", values[: len(values) // 8 * 8]))
        at += 4 + length


def _inflated(read_at: _ReadAt, begin: int, packed: int, start: int, stop: int) -> Iterator[bytes]:
    """Yield bytes [start, stop) of a deflated stream, in pieces."""
    stream = zlib.decompressobj(-15)
    at = done = 0
    while done < stop and not stream.eof:
        data = stream.unconsumed_tail
        if not data:
            data = read_at(begin + at, min(_PIECE, packed - at))
            at += len(data)
            if not data:
                raise ValueError("cut short")
        piece = stream.decompress(data, min(_PIECE, stop - done))
        yield piece[max(0, start - done) :]
        done += len(piece)


def _exactly(read_at: _ReadAt, start: int, length: int) -> bytes:
    data = read_at(start, max(0, length))
    while 0 < len(data) < length and (more := read_at(start + len(data), length - len(data))):
        data += more
    if len(data) < length:
        raise ValueError("cut short")
    return data


def _span(request: ByteRequest | None, size: int) -> tuple[int, int]:
    if isinstance(request, RangeByteRequest):
        return request.start, request.end
    if isinstance(request, OffsetByteRequest):
        return request.offset, size
    if isinstance(request, SuffixByteRequest):
        return max(0, size - request.suffix), size
    return 0, size
