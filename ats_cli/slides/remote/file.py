"""A file far away as a source of bytes: neighbouring ranges merged, all in flight together, tried again, counted."""

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
from ats_cli.slides.remote.retries import IN_FLIGHT, Patience, persistent

# Ranges nearer to each other than GAP bytes are one request, unless it grows beyond LONGEST: see benchmarks/remote.py.
GAP, LONGEST = 16 * 1024, 512 * 1024
# No native tile is larger; an index that lies asks for the whole file.
LARGEST = 64 * 1024 * 1024
# Headers are kept in blocks. The first request takes FIRST bytes, as a rule all that a small slide's headers are.
BLOCK, FIRST = 16 * 1024, 64 * 1024
# An index of 100 gigapixels is some 30 MB; a header that leads to more is a lie.
MOST_HEADERS = 256 * 1024 * 1024


# A file is fetched whole in pieces, so many at a time.
PIECE, PIECES = 1024 * 1024, 8


class RemoteFile:
    """One version of an object far away. Headers are kept on disk for the next time. Pickles as its path alone.

    The `first` bytes are asked for at once. Raises SlideError where there are none to be had.
    """

    def __init__(self, path: RemotePath, cache: HeaderCache | None = None, first: int = FIRST) -> None:
        self.path = path
        self.bytes_read = 0
        self._object = remote_object(path)
        self._in_flight, self._patience = asyncio.Semaphore(IN_FLIGHT), Patience()
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
        """What changes when the object does; None where the server says nothing of the kind."""
        return self._version

    @property
    def head(self) -> bytes:
        """The first bytes."""
        return self._blocks[0]()

    @contextlib.contextmanager
    def headers(self) -> Iterator[BinaryIO]:
        """The headers as a stream, from the cache on disk, or else asked for along the chain that they are."""
        kept = self._cache.load(self._key)
        for number, data in kept.items():
            self._blocks.setdefault(number, functools.partial(bytes, data))
        with self.opened() as fetch:
            stream = _HeaderStream(self, fetch)
            if not kept:
                walk_tiff(stream)
            yield cast(BinaryIO, stream)
            blocks = {number: block() for number, block in self._blocks.items()}
        if blocks.keys() != kept.keys():
            self._cache.save(self._key, blocks)
        self._blocks = {0: self._blocks[0]}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Fetch]:
        asked: set[Future[bytes]] = set()  # not answered yet

        def fetch(ranges: Sequence[Range]) -> list[Callable[[], bytes]]:
            reads: dict[Range, Callable[[], bytes]] = {}
            for start, stop, members in merged(ranges, self.size):
                future = asyncio.run_coroutine_threadsafe(self._get(start, stop), self._object.loop)
                asked.add(future)
                future.add_done_callback(asked.discard)
                for offset, count in members:
                    reads[offset, count] = functools.partial(_part, future, offset - start, count)
            return [reads.get(one, bytes) for one in ranges]

        try:
            yield fetch
        finally:
            for future in list(asked):
                future.cancel()

    def blocks_of(self, start: int, stop: int, fetch: Fetch) -> list[Callable[[], bytes]]:
        """The header blocks that hold bytes `start` to `stop`; those that are not here are asked for, in one go."""
        numbers = range(start // BLOCK, -(-min(stop, self.size) // BLOCK))
        missing = [number for number in numbers if number not in self._blocks]
        if (len(self._blocks) + len(missing)) * BLOCK > MOST_HEADERS:
            raise SlideError("its headers lead to more than they can be. Upload it again.")
        for number, read in zip(missing, fetch([(n * BLOCK, BLOCK) for n in missing]), strict=True):
            self._blocks[number] = functools.cache(read)
        return [self._blocks[number] for number in numbers]

    def download(self, file: BinaryIO) -> None:
        """Write all of it to `file`, in pieces: each is tried again, and is of this version, as any other range."""
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
        return await persistent(self._object, start, stop, self._in_flight, self._patience, self._count)

    def _count(self, received: int) -> None:
        self.bytes_read += received


def merged(ranges: Sequence[Range], size: int) -> Iterator[tuple[int, int, list[Range]]]:
    """Cut ranges off at `size` and LARGEST, and merge those that are near: (start, stop, those in it).

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
        raise OSError("no longer wanted") from None


class _HeaderStream(io.RawIOBase):
    """The file as a stream, by its header blocks."""

    def __init__(self, source: RemoteFile, fetch: Fetch) -> None:
        self._source, self._fetch, self._at = source, fetch, 0

    def ask(self, start: int, stop: int) -> Callable[[], bytes]:
        """Begin to get bytes `start` to `stop`; the call that is returned waits for them."""
        stop = max(start, min(stop, self._source.size))
        blocks = self._source.blocks_of(start, stop, self._fetch) if stop > start else []
        return lambda: b"".join(block() for block in blocks)[start % BLOCK : start % BLOCK + stop - start]

    def read(self, size: int | None = -1) -> bytes:
        stop = self._source.size if size is None or size < 0 else self._at + size
        data = self.ask(self._at, stop)()
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
