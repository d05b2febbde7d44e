"""Which chunks of a Zarr array its store holds, and what was read of it."""

from __future__ import annotations

import functools
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, WrapperStore, ZipStore

from ats_cli.records import SlideError
from ats_cli.slides.stream_size import refuse_large

METADATA = (".zgroup", ".zarray", "zarr.json")

_REMEMBERED = 4096
_INDICES = 256
_MOST_CHUNKS = 1 << 27
_MOST_CHUNK_PIXELS = 1 << 26
_NONE = np.iinfo(np.uint64).max
_CHUNK = re.compile(r"(?:c[./])?\d+(?:[./]\d+)*")

Span = tuple[int, int]
"""Indices [start, stop) along an axis."""


class CountingStore(WrapperStore[Store]):
    """Counts the bytes that a store delivers, and remembers the last keys that it did not have, and the last ends of
    objects: the indices of shards, which zarr would ask for again with every chunk.

    `keys(prefix)` lists what the store holds, None where that takes long. `root` is where in it the Zarr begins.
    """

    def __init__(self, store: Store, keys: Callable[[str], Iterator[str]] | None = None, root: str = "") -> None:
        super().__init__(store)
        self.keys, self.root = keys, root
        self.bytes_read = 0
        self._lacking: dict[str, None] = {}
        self._ends: dict[tuple[str, int], Buffer] = {}

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        end = (key, byte_range.suffix) if isinstance(byte_range, SuffixByteRequest) else None
        if end in self._ends:
            return self._ends[end]
        value = await self._store.get(key, prototype, byte_range)
        if value is None:
            _remember(self._lacking, key, None, _REMEMBERED)
            return None
        self.bytes_read += len(value)
        if end is not None:
            _remember(self._ends, end, value, _INDICES)
        else:
            refuse_large(value.to_bytes(), _MOST_CHUNK_PIXELS)
        return value

    def lacked(self, key: str) -> bool:
        """Whether the last `get` of this key, a moment ago, found nothing."""
        return key in self._lacking


class Chunks:
    """The chunks of one array; of a sharded one, the inner chunks."""

    def __init__(self, array: zarr.Array[Any], store: CountingStore) -> None:
        self._array, self._store = array, store
        self._shards = _shard_index(array)
        self._prefix = f"{array.path}/" if array.path else ""
        self._held_in_shard = functools.lru_cache(maxsize=_REMEMBERED)(self._read_index)

    def lacks(self, chunk: tuple[int, ...]) -> bool:
        """Whether the store does not hold a chunk; asked just after it was read."""
        if self._array.shards is None:
            return self._store.lacked(self._key(chunk))
        per = self._per_shard()
        shard = tuple(i // n for i, n in zip(chunk, per, strict=True))
        if self._shards is None:
            return self._store.lacked(self._key(shard))
        held = self._held_in_shard(shard)
        return held is None or not bool(held[tuple(i % n for i, n in zip(chunk, per, strict=True))])

    def held(self, axes: str, spans: Mapping[str, Span]) -> NDArray[np.bool_] | None:
        """Which chunks the store holds, (chunk rows, chunk cols), any of those that `spans` touches along the other
        axes. None where there are too many to tell. Lists the store."""
        array = self._array
        chunks = dict(zip(axes, array.chunks, strict=True))
        counts = dict(zip(axes, (-(-s // c) for s, c in zip(array.shape, array.chunks, strict=True)), strict=True))
        if counts["y"] * counts["x"] > _MOST_CHUNKS:
            return None
        cells = {axis: (a // chunks[axis], (b - 1) // chunks[axis] + 1) for axis, (a, b) in spans.items()}
        per = dict(zip(axes, self._per_shard(), strict=True))
        found = np.zeros((counts["y"], counts["x"]), dtype=np.bool_)
        order = [axes.index("y"), axes.index("x"), *(i for i, axis in enumerate(axes) if axis not in "yx")]
        for shard in self._listed():
            # The chunks of this shard (itself, where nothing is sharded) that the spans touch.
            starts = {axis: i * per[axis] for axis, i in zip(axes, shard, strict=True)}
            within = {
                axis: slice(max(0, a - starts[axis]), max(0, min(b - starts[axis], per[axis])))
                for axis, (a, b) in cells.items()
            }
            if any(part.start >= part.stop for part in within.values()):
                continue
            y, x = starts["y"], starts["x"]
            here = found[y : y + per["y"], x : x + per["x"]]
            held = self._told_of(shard)
            if held is None:
                here[:] = True
                continue
            part = held[tuple(within.get(axis, slice(None)) for axis in axes)].transpose(order)
            here |= np.asarray(part.reshape(*part.shape[:2], -1).any(axis=2))[: here.shape[0], : here.shape[1]]
        return found

    def _told_of(self, shard: tuple[int, ...]) -> NDArray[Any] | None:
        """Which chunks a shard that is there holds; None if nothing is sharded, or its index is not understood."""
        try:
            return None if self._shards is None else self._held_in_shard(shard)
        except Exception:  # what is damaged is told where it is read
            return None

    def any_held(self) -> bool:
        """Whether the store holds anything of the array. Lists the store, up to the first find."""
        return next(self._listed(), None) is not None

    def _per_shard(self) -> tuple[int, ...]:
        """Chunks a shard along each axis."""
        shards = self._array.shards or self._array.chunks
        return tuple(s // c for s, c in zip(shards, self._array.chunks, strict=True))

    def _key(self, chunk: tuple[int, ...]) -> str:
        return self._prefix + self._array.metadata.encode_chunk_key(chunk)

    def _listed(self) -> Iterator[tuple[int, ...]]:
        """The grid's cells (chunks or shards) that the store holds a key of."""
        assert self._store.keys is not None
        for key in self._store.keys(self._prefix):
            if _CHUNK.fullmatch(rest := key[len(self._prefix) :]):
                cell = tuple(int(i) for i in re.findall(r"\d+", rest))
                if len(cell) == self._array.ndim:
                    yield cell

    def _read_index(self, shard: tuple[int, ...]) -> NDArray[Any] | None:
        """Which inner chunks a shard holds; None if the shard is not there. Raises ValueError if it is damaged."""
        assert self._shards is not None
        at_end, checked = self._shards
        per = self._per_shard()
        size = 16 * math.prod(per) + 4 * checked
        span = SuffixByteRequest(size) if at_end else RangeByteRequest(0, size)
        value = sync(self._store.get(self._key(shard), default_buffer_prototype(), span))
        if value is None:
            return None
        raw = value.to_bytes()
        table = raw[: 16 * math.prod(per)]
        if len(raw) != size or (checked and google_crc32c.value(table).to_bytes(4, "little") != raw[-4:]):
            raise ValueError("the index of its shard is damaged")
        spans: NDArray[np.uint64] = np.frombuffer(table, dtype="<u8").reshape(*per, 2)
        return np.asarray((spans != _NONE).any(axis=-1))


def _remember(last: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Put the key at the end of `last`, which is kept to the `most` last ones."""
    last.pop(key, None)
    last[key] = value
    if len(last) > most:
        del last[next(iter(last))]


def local_store(path: Path) -> CountingStore:
    """A folder or a zip on a disk. Raises SlideError for what is neither."""
    if path.is_dir():
        return CountingStore(LocalStore(path, read_only=True), functools.partial(_keys_below, path))
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except zipfile.BadZipFile:
        raise SlideError(f"{path.name}: neither a folder of Zarr nor a whole zip of one. Copy it again.") from None
    return CountingStore(
        ZipStore(path, mode="r"), lambda prefix: (name for name in names if name.startswith(prefix)), _root(path, names)
    )


def _keys_below(folder: Path, prefix: str) -> Iterator[str]:
    for parent, _, files in os.walk(folder / prefix):
        within = Path(parent).relative_to(folder).as_posix()
        for file in files:
            yield file if within == "." else f"{within}/{file}"


def _root(path: Path, names: Sequence[str]) -> str:
    """Where in a zip the Zarr begins: at its top, or in the one folder that was zipped."""
    found = [PurePosixPath(name) for name in names if PurePosixPath(name).name in METADATA]
    if not found:
        raise SlideError(f"{path.name}: a zip without a Zarr in it. Unpack it and give what is inside.")
    top = min(found, key=lambda name: len(name.parts)).parent.as_posix()
    return "" if top == "." else top


def _shard_index(array: zarr.Array[Any]) -> tuple[bool, bool] | None:
    """Of a sharded array, whether the index of a shard is at its end, and whether it ends in a checksum; None where
    there are no shards, or where their index is none of the two that writers write."""
    codec: Any = next(iter(getattr(array.metadata, "codecs", ())), None)
    if array.shards is None or not isinstance(codec, ShardingCodec) or codec.chunk_shape != array.chunks:
        return None
    first, *rest = codec.index_codecs
    if not isinstance(first, BytesCodec) or first.to_dict() != BytesCodec(endian="little").to_dict():
        return None
    if len(rest) > 1 or not all(isinstance(codec, Crc32cCodec) for codec in rest):
        return None
    return codec.index_location.value == "end", bool(rest)
