"""A remote Zarr store: each key is an object below a URL, read with the same retries and errors as other ranges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from ats_cli.slides.formats.zarr.store import CountingStore
from ats_cli.slides.remote.answer import ObjectMissingError
from ats_cli.slides.remote.object import remote_object
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.retries import IN_FLIGHT, TimeBudget, get_with_retries

_TO_THE_END = 1 << 40


class RemoteStore(Store):
    """A read-only store. It cannot be listed, since most servers do not support that. Raises SlideError."""

    supports_writes = supports_deletes = supports_listing = False

    def __init__(self, path: RemotePath) -> None:
        super().__init__(read_only=True)
        self._path = path
        self._in_flight, self._time_budget = asyncio.Semaphore(IN_FLIGHT), TimeBudget()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and other._path == self._path

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        remote = remote_object(self._path.child(key))
        start, stop = _span(byte_range)
        # Requests run in fsspec's event loop, not in Zarr's.
        work = get_with_retries(remote, start, stop, self._in_flight, self._time_budget, lambda _: None)
        try:
            answer = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, remote.loop))
        except ObjectMissingError:
            return None
        return prototype.buffer.from_bytes(answer.data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return list(await asyncio.gather(*(self.get(key, prototype, span) for key, span in key_ranges)))

    async def exists(self, key: str) -> bool:
        from zarr.core.buffer import default_buffer_prototype

        return await self.get(key, default_buffer_prototype(), RangeByteRequest(0, 1)) is not None

    async def set(self, key: str, value: Buffer) -> None:
        raise PermissionError("a remote Zarr is read-only")

    async def delete(self, key: str) -> None:
        raise PermissionError("a remote Zarr is read-only")

    def list(self) -> AsyncIterator[str]:
        return _nothing()

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        return _nothing()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        return _nothing()


def remote_store(path: RemotePath) -> CountingStore:
    """Return the store at a URL, with its bytes counted."""
    return CountingStore(RemoteStore(path))


def _span(request: ByteRequest | None) -> tuple[int, int]:
    if isinstance(request, RangeByteRequest):
        return request.start, request.end
    if isinstance(request, OffsetByteRequest):
        return request.offset, _TO_THE_END
    if isinstance(request, SuffixByteRequest):
        return -request.suffix, _TO_THE_END
    return 0, _TO_THE_END


async def _nothing() -> AsyncIterator[str]:
    for key in list[str]():
        yield key
