"""A remote file as a byte source: near ranges are merged, requested in parallel, retried and counted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, BinaryIO, cast

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import Fetch, Range
from ats_cli.slides.formats.tiff.header_prefetch import walk_tiff
from ats_cli.slides.remote.answer import Answer
from ats_cli.slides.remote.header_cache import HeaderCache
from ats_cli.slides.remote.object import remote_object
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.retries import IN_FLIGHT, TimeBudget, get_with_retries

# Ranges less than GAP bytes apart become one request of at most LONGEST bytes: see benchmarks/remote.py.
GAP, LONGEST = 16 * 1024, 512 * 1024
# Most bytes of a range. No native tile is larger, but a wrong index may ask for the whole file.
LARGEST = 64 * 1024 * 1024
# Headers are cached in blocks of BLOCK bytes. The first request is FIRST bytes, usually all headers of a small slide.
BLOCK, FIRST = 16 * 1024, 64 * 1024
# The index of 100 gigapixels takes about 30 MB; a header that leads to more than this is damaged.
MOST_HEADERS = 256 * 1024 * 1024
# A whole file is downloaded in pieces of PIECE bytes, PIECES at a time.
PIECE, PIECES = 1024 * 1024, 8


class RemoteFile:
    """One version of a remote object. Its headers are cached on disk.

    first: bytes to request at once. Raises SlideError if the object is empty or cannot be read.
    """

    def __init__(self, path: RemotePath, cache: HeaderCache | None = None, first: int = FIRST) -> None:
        self.path = path
        self.bytes_read = 0
        self._object = remote_object(path)
        self._in_flight, self._time_budget = asyncio.Semaphore(IN_FLIGHT), TimeBudget()
        self.size, self._version = 0, None
        answer = self._wait(self._answer(0, first))
        self.size, self._version = answer.size, answer.version
        if not answer.data:
            raise SlideError("the file is empty. Upload it again.")
        self._cache = cache or HeaderCache()
        self._key = (str(path), self.size, self._version)
        self._blocks: dict[int, Callable[[], bytes]] = {}
        for number in range(-(-len(answer.data) // BLOCK)):
            self._blocks[number] = functools.partial(bytes, answer.data[number * BLOCK : (number + 1) * BLOCK])

    @property
    def version(self) -> str | None:
        """The object's version (ETag or the like); None if the server gives none."""
        return self._version

    @property
    def head(self) -> bytes:
        """The first bytes of the object."""
        return self._blocks[0]()

    @contextlib.contextmanager
    def headers(self) -> Iterator[BinaryIO]:
        """Open the headers as a stream. Headers that are not cached are requested along the chain of directories."""
        cached = self._cache.load(self._key)
        for number, data in cached.items():
            self._blocks.setdefault(number, functools.partial(bytes, data))
        with self.opened() as fetch:
            stream = _HeaderStream(self, fetch)
            if not cached:
                walk_tiff(stream)
            yield cast(BinaryIO, stream)
            blocks = {number: block() for number, block in self._blocks.items()}
        if blocks.keys() != cached.keys():
            self._cache.save(self._key, blocks)
        self._blocks = {0: self._blocks[0]}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Fetch]:
        pending: set[Future[bytes]] = set()

        def fetch(ranges: Sequence[Range]) -> list[Callable[[], bytes]]:
            reads: dict[Range, Callable[[], bytes]] = {}
            for start, stop, members in merged(ranges, self.size):
                future = asyncio.run_coroutine_threadsafe(self._get(start, stop), self._object.loop)
                pending.add(future)
                future.add_done_callback(pending.discard)
                for offset, count in members:
                    reads[offset, count] = functools.partial(_part, future, offset - start, count)
            return [reads.get(one, bytes) for one in ranges]

        try:
            yield fetch
        finally:
            for future in list(pending):
                future.cancel()

    def blocks_of(self, start: int, stop: int, fetch: Fetch) -> list[Callable[[], bytes]]:
        """Return calls for the header blocks of bytes [start, stop). Requests those that are missing, all at once."""
        numbers = range(start // BLOCK, -(-min(stop, self.size) // BLOCK))
        missing = [number for number in numbers if number not in self._blocks]
        if (len(self._blocks) + len(missing)) * BLOCK > MOST_HEADERS:
            raise SlideError("its headers lead to more than they can be. Upload it again.")
        for number, read in zip(missing, fetch([(n * BLOCK, BLOCK) for n in missing]), strict=True):
            self._blocks[number] = functools.cache(read)
        return [self._blocks[number] for number in numbers]

    def download(self, file: BinaryIO) -> None:
        """Write the object to `file`, in pieces. Each is retried, and checked to be of the same version."""
        pieces: deque[Callable[[], bytes]] = deque()
        with self.opened() as fetch:
            for offset in range(0, self.size, PIECE):
                pieces.extend(fetch([(offset, PIECE)]))
                if len(pieces) >= PIECES:
                    file.write(pieces.popleft()())
            for piece in pieces:
                file.write(piece())

    def _wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._object.loop).result()

    async def _get(self, start: int, stop: int) -> bytes:
        answer = await self._answer(start, stop)
        if (answer.size, answer.version) != (self.size, self._version):
            raise SlideError("the file was changed while it was read. Run it again.")
        return answer.data

    async def _answer(self, start: int, stop: int) -> Answer:
        return await get_with_retries(self._object, start, stop, self._in_flight, self._time_budget, self._count)

    def _count(self, received: int) -> None:
        self.bytes_read += received


def merged(ranges: Sequence[Range], size: int) -> Iterator[tuple[int, int, list[Range]]]:
    """Limit ranges to `size` and LARGEST, merge near ones, and yield (start, stop, the ranges inside).

    >>> list(merged([(0, 10), (12, 5), (100_000, 5), (0, 0)], 100_003))
    [(0, 17, [(0, 10), (12, 5)]), (100000, 100003, [(100000, 5)])]
    """
    inside = sorted({(offset, count) for offset, count in ranges if count > 0 and offset < size})
    members: list[Range] = []
    start = stop = 0
    for offset, count in inside:
        end = min(offset + min(count, LARGEST), size)
        if members and (offset > stop + GAP or (end - start > LONGEST and end > stop)):
            yield start, stop, members
            members = []
        if not members:
            start = stop = offset
        stop = max(stop, end)
        members.append((offset, count))
    if members:
        yield start, stop, members


def _part(future: Future[bytes], start: int, count: int) -> bytes:
    try:
        return future.result()[start : start + count]
    except CancelledError:
        raise OSError("cancelled") from None


class _HeaderStream(io.RawIOBase):
    """The file as a stream, read by header blocks."""

    def __init__(self, source: RemoteFile, fetch: Fetch) -> None:
        self._source, self._fetch, self._at = source, fetch, 0

    def request(self, start: int, stop: int) -> Callable[[], bytes]:
        """Request bytes [start, stop). The call that is returned waits for them."""
        stop = max(start, min(stop, self._source.size))
        blocks = self._source.blocks_of(start, stop, self._fetch) if stop > start else []
        return lambda: b"".join(block() for block in blocks)[start % BLOCK : start % BLOCK + stop - start]

    def read(self, size: int | None = -1) -> bytes:
        stop = self._source.size if size is None or size < 0 else self._at + size
        data = self.request(self._at, stop)()
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
