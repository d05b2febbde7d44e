"""Where a slide's bytes come from, so that a reader need not know: here, a file on a disk."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ats_cli.slides.reader import unreadable
from ats_cli.slides.remote.path import AnyPath

Range = tuple[int, int]
"""(offset, count), in bytes."""

Fetch = Callable[[Sequence[Range]], list[Callable[[], bytes]]]
"""Asks for many ranges at once; gives for each a call that returns its bytes, fewer where the file ends before.

The calls are safe in threads. One that fails raises OSError where these bytes alone cannot be had, and SlideError where
there is no use in asking for others.
"""

_HEADER_BUFFER = 16 * 1024


class ByteSource(Protocol):
    """A file, near or far. `size` in bytes; `bytes_read` counts what came from the disk or the network so far."""

    @property
    def path(self) -> AnyPath: ...
    @property
    def size(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...

    def headers(self) -> AbstractContextManager[BinaryIO]:
        """The file as a stream that can seek, for a library that reads its headers."""
        ...

    def opened(self) -> AbstractContextManager[Fetch]:
        """The file during a read of many ranges. Raises SlideError where it cannot be opened."""
        ...


class LocalFile:
    """A file on a disk. No descriptor is held between calls, so that thousands of slides may stay open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.bytes_read = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def headers(self) -> Iterator[BinaryIO]:
        with io.BufferedReader(_Counted(self), _HEADER_BUFFER) as stream:
            yield cast(BinaryIO, stream)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Fetch]:
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise unreadable(self.path, error) from error
        with file:
            size, lock = self.size, self._lock
            read_at = reads_at(file)

            def read(offset: int, count: int) -> bytes:
                # An index that lies asks for more than there is: no memory is set aside for it.
                count = min(count, size - offset)
                data = read_at(offset, count) if count > 0 else b""
                with lock:
                    self.bytes_read += len(data)
                return data

            # One at a time, when it is wanted: a disk has no use for being asked ahead, and memory stays small.
            yield lambda ranges: [functools.partial(read, *one) for one in ranges]

    def count(self, read: int) -> None:
        with self._lock:
            self.bytes_read += read


class _Counted(io.FileIO):
    """Tells its source how much was read."""

    def __init__(self, source: LocalFile) -> None:
        super().__init__(source.path)
        self._source = source

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        read = super().readinto(buffer)
        self._source.count(read or 0)
        return read


def reads_at(file: io.FileIO) -> Callable[[int, int], bytes]:
    """The call (offset, count) that reads an open file in many threads."""
    return _pread(file) if hasattr(os, "pread") else _seek_and_read(file)


def _pread(file: io.FileIO) -> Callable[[int, int], bytes]:
    descriptor = file.fileno()
    return lambda offset, count: os.pread(descriptor, count, offset)


def _seek_and_read(file: io.FileIO) -> Callable[[int, int], bytes]:
    """The same where the platform has no pread: one thread at a time."""
    lock = threading.Lock()

    def read_at(offset: int, count: int) -> bytes:
        with lock:
            file.seek(offset)
            return file.read(count)

    return read_at
