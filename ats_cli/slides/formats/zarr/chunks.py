"""Find which chunks of a Zarr array its store holds."""

from __future__ import annotations

import asyncio
import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from ats_cli.slides.formats.zarr.store import CountingStore

_SHARDS = 4096
_MOST_CHUNKS = 1 << 27
# Chunks to request from a store that cannot be listed, before the array counts as empty.
_TRIED = 64
_GOLDEN = (math.sqrt(5) - 1) / 2
_NONE = np.iinfo(np.uint64).max
_CHUNK = re.compile(r"(?:c[./])?\d+(?:[./]\d+)*")

Span = tuple[int, int]
"""Indices [start, stop) along an axis."""

Cell = tuple[int, ...]
"""The indices of a chunk, or of a shard, along each axis."""


class Chunks:
    """The chunks of one array; of a sharded array, the inner chunks. `name`: of the array, for messages."""

    def __init__(self, array: zarr.Array[Any], store: CountingStore) -> None:
        self._array, self._store = array, store
        self.name = array.path or "/"
        self._shards = _shard_index(array)
        self._prefix = f"{array.path}/" if array.path else ""
        self._stored_in_shard = functools.lru_cache(maxsize=_SHARDS)(self._read_index)
        sides = array.shards or array.chunks
        self._grid = tuple(-(-s // side) for s, side in zip(array.shape, sides, strict=True))
        # Matches keys as the metadata defines them: each index once, without leading zeros.
        pattern = re.escape(array.metadata.encode_chunk_key((0,) * array.ndim))
        self._key_pattern = re.compile(re.sub("0", r"(0|[1-9]\\d*)", pattern))

    def lacks(self, chunk: Cell) -> bool:
        """Whether the store lacks a chunk. Call it just after reading the chunk."""
        if self._array.shards is None:
            return self._store.lacked(self._key(chunk))
        if self._shards is None:
            return self._store.lacked(self._key(self._shard_of(chunk)))
        return not self._has(chunk)

    def any_of(self, chunks: list[Cell]) -> bool:
        """Whether the store holds any of these chunks. For stores that cannot be listed."""
        if self._shards is not None:
            return any(self._has(chunk) for chunk in chunks)
        return self._any_key([self._key(self._shard_of(chunk)) for chunk in chunks])

    def stored_chunks(self, axes: str, spans: Mapping[str, Span]) -> NDArray[np.bool_] | None:
        """Return which chunks the store holds, (chunk rows, chunk cols) bool; None if there are too many to list.

        A position counts as stored if any chunk within `spans` along the other axes is. Lists the store.
        """
        array = self._array
        chunks = dict(zip(axes, array.chunks, strict=True))
        counts = dict(zip(axes, (-(-s // c) for s, c in zip(array.shape, array.chunks, strict=True)), strict=True))
        if counts["y"] * counts["x"] > _MOST_CHUNKS:
            return None
        cells = {axis: (a // chunks[axis], (b - 1) // chunks[axis] + 1) for axis, (a, b) in spans.items()}
        per = dict(zip(axes, self._per_shard(), strict=True))
        found = np.zeros((counts["y"], counts["x"]), dtype=np.bool_)
        if self._shards is None:
            listed = [cell for _, cell, is_defined in self._listed() if is_defined or cell in self.elsewhere]
            index = dict(zip(axes, np.array(listed, dtype=np.intp).reshape(-1, array.ndim).T, strict=True))
            shown = np.ones(len(listed), dtype=np.bool_)
            for axis, (a, b) in cells.items():
                shown &= (index[axis] * per[axis] < b) & ((index[axis] + 1) * per[axis] > a)
            ys, xs = (index[axis][shown][:, None] * per[axis] + np.arange(per[axis]) for axis in "yx")
            ys, xs = np.broadcast_arrays(ys[:, :, None], xs[:, None])
            whole = (ys < counts["y"]) & (xs < counts["x"])
            found[ys[whole], xs[whole]] = True
            return found
        order = [axes.index("y"), axes.index("x"), *(i for i, axis in enumerate(axes) if axis not in "yx")]
        for _, shard, is_defined in self._listed():
            if not is_defined and shard not in self.elsewhere:
                continue
            # The chunks of this shard within the spans.
            starts = {axis: i * per[axis] for axis, i in zip(axes, shard, strict=True)}
            within = {
                axis: slice(max(0, a - starts[axis]), max(0, min(b - starts[axis], per[axis])))
                for axis, (a, b) in cells.items()
            }
            if any(part.start >= part.stop for part in within.values()):
                continue
            y, x = starts["y"], starts["x"]
            target = found[y : y + per["y"], x : x + per["x"]]
            stored = self._chunks_in(shard)
            if stored is None:
                target[:] = True
                continue
            part = stored[tuple(within.get(axis, slice(None)) for axis in axes)].transpose(order)
            target |= np.asarray(part.reshape(*part.shape[:2], -1).any(axis=2))[: target.shape[0], : target.shape[1]]
        return found

    def _chunks_in(self, shard: Cell) -> NDArray[Any] | None:
        """Return which chunks a stored shard holds; None if its index cannot be read."""
        try:
            return None if self._shards is None else self._stored_in_shard(shard)
        except Exception:  # reading its chunks reports the damage
            return None

    @functools.cached_property
    def missing(self) -> str | None:
        """Why nothing of the array can be read, as a sentence; None if the store holds a chunk of it.

        Lists the store up to the first chunk. If it cannot be listed, requests chunks spread over the array.
        """
        if self._store.keys is None:
            count = math.prod(self._grid)
            numbers = range(count) if count <= _TRIED else {int(count * (i * _GOLDEN % 1)) for i in range(_TRIED)}
            cells = [tuple(int(i) for i in np.unravel_index(number, self._grid)) for number in numbers]
            if self._any_key([self._key(cell) for cell in cells]):
                return None
            return f"none of the {len(cells)} chunks of the array {self.name} that were tried is there."
        other = None
        for key, cell, is_defined in self._listed():
            if is_defined:
                return None
            other = other or (key, cell)
        if other is None:
            return f"not one chunk of the array {self.name} is there. Copy it again."
        return (
            f"the chunks of the array {self.name} are called like {other[0]}, but its metadata asks for names like "
            f"{self._key(other[1])}. Correct the separator of its chunks' names in it, or copy it again."
        )

    @functools.cached_property
    def elsewhere(self) -> dict[Cell, str]:
        """Chunks or shards stored under another key than the metadata defines, and that key."""
        found = {cell: key for key, cell, is_defined in self._listed() if not is_defined}
        for _, cell, is_defined in self._listed() if found else ():
            if is_defined:
                found.pop(cell, None)
        return found

    def called(self, chunk: Cell) -> str | None:
        """Return the other key under which a chunk is stored; None if there is none. Lists the store."""
        return self.elsewhere.get(self._shard_of(chunk)) if self._store.keys is not None else None

    def _any_key(self, keys: list[str]) -> bool:
        async def exists(key: str) -> bool:
            return await self._store.get(key, default_buffer_prototype(), RangeByteRequest(0, 1)) is not None

        async def exist() -> list[bool]:
            return list(await asyncio.gather(*(exists(key) for key in keys)))

        return any(sync(exist()))

    def _has(self, chunk: Cell) -> bool:
        """Whether the shard of a chunk holds it."""
        stored = self._stored_in_shard(self._shard_of(chunk))
        within = tuple(i % n for i, n in zip(chunk, self._per_shard(), strict=True))
        return stored is not None and bool(stored[within])

    def _shard_of(self, chunk: Cell) -> Cell:
        return tuple(i // n for i, n in zip(chunk, self._per_shard(), strict=True))

    def _per_shard(self) -> tuple[int, ...]:
        """Return the number of chunks per shard along each axis."""
        shards = self._array.shards or self._array.chunks
        return tuple(s // c for s, c in zip(shards, self._array.chunks, strict=True))

    def _key(self, cell: Cell) -> str:
        return self._prefix + self._array.metadata.encode_chunk_key(cell)

    def _listed(self) -> Iterator[tuple[str, Cell, bool]]:
        """Yield (key, cell, whether the metadata defines this key) for the chunks or shards that the store holds."""
        assert self._store.keys is not None
        for key in self._store.keys(self._prefix):
            rest = key[len(self._prefix) :]
            defined = self._key_pattern.fullmatch(rest)
            if defined is None and not _CHUNK.fullmatch(rest):
                continue
            cell = tuple(int(i) for i in (defined.groups() if defined else re.findall(r"\d+", rest)))
            if len(cell) == len(self._grid) and all(i < n for i, n in zip(cell, self._grid, strict=True)):
                yield key, cell, defined is not None

    def _read_index(self, shard: Cell) -> NDArray[Any] | None:
        """Return which inner chunks a shard holds; None if the store lacks it. Raises ValueError if it is damaged."""
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


def _shard_index(array: zarr.Array[Any]) -> tuple[bool, bool] | None:
    """Return (whether a shard's index is at its end, whether it has a checksum).

    None if the array has no shards, or if their index is neither of the two kinds that writers use.
    """
    codec: Any = next(iter(getattr(array.metadata, "codecs", ())), None)
    if array.shards is None or not isinstance(codec, ShardingCodec) or codec.chunk_shape != array.chunks:
        return None
    first, *rest = codec.index_codecs
    if not isinstance(first, BytesCodec) or first.to_dict() != BytesCodec(endian="little").to_dict():
        return None
    if len(rest) > 1 or not all(isinstance(codec, Crc32cCodec) for codec in rest):
        return None
    return codec.index_location.value == "end", bool(rest)
