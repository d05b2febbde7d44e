"""The store of a Zarr: a folder, a zip or a remote store, with bytes counted and sizes limited."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from ats_cli.errors import SlideError
from ats_cli.slides.formats.zarr.zip_store import ZipFolder
from ats_cli.slides.identity.file_state import refuse_special
from ats_cli.slides.pixels.stream_size import refuse_large

METADATA = (".zgroup", ".zarray", "zarr.json")

_REMEMBERED = 4096
_INDICES = 256
_MOST_METADATA = 1 << 24


class CountingStore(WrapperStore[Store]):
    """Counts the bytes read from a store, and limits the size of objects.

    It caches the last keys that the store lacked, and the last ends of objects: zarr would request the index of a shard
    again for every chunk.

    keys: lists the keys below a prefix; None if that is slow.
    root: the path of the Zarr in the store.
    """

    def __init__(self, store: Store, keys: Callable[[str], Iterator[str]] | None = None, root: str = "") -> None:
        super().__init__(store)
        self.keys, self.root = keys, root
        self.bytes_read = 0
        self._most: dict[str, int] = {}
        self._lacking: dict[str, None] = {}
        self._ends: dict[tuple[str, int], Buffer] = {}

    def expect(self, prefix: str, most: int) -> None:
        """Limit objects below `prefix` to `most` bytes and pixels. `get` raises ValueError for larger ones."""
        self._most[prefix] = most

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        end = (key, byte_range.suffix) if isinstance(byte_range, SuffixByteRequest) else None
        if end in self._ends:
            return self._ends[end]
        most = max((most for prefix, most in self._most.items() if key.startswith(prefix)), default=_MOST_METADATA)
        value = await self._store.get(key, prototype, _bounded(byte_range, most))
        if value is None:
            _remember(self._lacking, key, None, _REMEMBERED)
            return None
        self.bytes_read += len(value)
        if len(value) > most:
            raise ValueError(f"more than {most} bytes")
        if end is not None:
            _remember(self._ends, end, value, _INDICES)
        else:
            refuse_large(value.to_bytes(), most)
        return value

    def lacked(self, key: str) -> bool:
        """Whether a recent `get` of this key found nothing."""
        return key in self._lacking


def _bounded(request: ByteRequest | None, most: int) -> ByteRequest | None:
    """Return the request, limited to `most` + 1 bytes."""
    if request is None:
        return RangeByteRequest(0, most + 1)
    if isinstance(request, RangeByteRequest):
        return RangeByteRequest(request.start, min(request.end, request.start + most + 1))
    return request


def _remember(last: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Add a key to the cache `last`, which holds the `most` last ones."""
    last.pop(key, None)
    last[key] = value
    if len(last) > most:
        del last[next(iter(last))]


class _Folder(LocalStore):
    """A folder of files. Named pipes and the like in it are refused, since reading them may block."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        refuse_special(self.root / key)
        return await super().get(key, prototype, byte_range)


def local_store(path: Path) -> CountingStore:
    """Return the store of a local folder or zip. Raises SlideError for other files."""
    if path.is_dir():
        return CountingStore(_Folder(path, read_only=True), functools.partial(_keys_below, path))
    file = ZipFolder(path)
    root = _root(file.names)
    return CountingStore(file, lambda prefix: (name for name in file.names if name.startswith(prefix)), root)


def _keys_below(folder: Path, prefix: str) -> Iterator[str]:
    top = str(folder)
    for parent, _, files in os.walk(folder / prefix):
        within = parent[len(top) :].replace(os.sep, "/").strip("/")
        for file in files:
            yield f"{within}/{file}" if within else file


def _root(names: Iterable[str]) -> str:
    """Return the path of the Zarr in a zip: its top level, or the folder that was zipped."""
    found = [name for name in names if name.endswith(METADATA) and name.rpartition("/")[2] in METADATA]
    if not found:
        raise SlideError("a zip without a Zarr in it. Unpack it and give what is inside.")
    return min(found, key=lambda name: name.count("/")).rpartition("/")[0]
