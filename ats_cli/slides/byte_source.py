"""Byte sources: readers read local and remote files through one interface. This file has the local one."""

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
"""Requests several ranges and returns a call for each, which returns the bytes; fewer if the file ends before.

The calls are thread-safe. They raise OSError if these bytes cannot be read, and SlideError if no others can be read
either.
"""

_HEADER_BUFFER = 16 * 1024


class ByteSource(Protocol):
    """A local or remote file. `size` in bytes; `bytes_read` counts the bytes from disk or network so far."""

    @property
    def path(self) -> AnyPath: ...
    @property
    def size(self) -> int: ...
    @property
    def bytes_read(self) -> int: ...

    def headers(self) -> AbstractContextManager[BinaryIO]:
        """Open the file as a seekable stream, for libraries that read headers."""
        ...

    def opened(self) -> AbstractContextManager[Fetch]:
        """Open the file to read ranges. Raises SlideError if it cannot be opened."""
        ...


class LocalFile:
    """A local file. It is open only during a read, so thousands of slides can be open at once."""

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
                # A wrong index may ask for more than the file has; do not allocate memory for it.
                count = min(count, size - offset)
                data = read_at(offset, count) if count > 0 else b""
                with lock:
                    self.bytes_read += len(data)
                return data

            # Read each range when it is used: a disk gains nothing from requests ahead, and memory stays small.
            yield lambda ranges: [functools.partial(read, *one) for one in ranges]

    def count(self, read: int) -> None:
        with self._lock:
            self.bytes_read += read


class _Counted(io.FileIO):
    """A file that counts the bytes read from it."""

    def __init__(self, source: LocalFile) -> None:
        super().__init__(source.path)
        self._source = source

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        read = super().readinto(buffer)
        self._source.count(read or 0)
        return read


def reads_at(file: io.FileIO) -> Callable[[int, int], bytes]:
    """Return a function (offset, count) -> bytes that reads an open file from several threads."""
    return _pread(file) if hasattr(os, "pread") else _seek_and_read(file)


def _pread(file: io.FileIO) -> Callable[[int, int], bytes]:
    descriptor = file.fileno()
    return lambda offset, count: os.pread(descriptor, count, offset)


def _seek_and_read(file: io.FileIO) -> Callable[[int, int], bytes]:
    """Return the same function for platforms without pread. Threads read one after the other."""
    lock = threading.Lock()

    def read_at(offset: int, count: int) -> bytes:
        with lock:
            file.seek(offset)
            return file.read(count)

    return read_at
