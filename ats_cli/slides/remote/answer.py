"""Answers of remote objects, and their errors.

An error is a `TemporaryFailure`, which is retried, or a SlideError, which says what to do. Errors of libraries are
replaced by these, since their texts show the whole URL.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, Protocol

from ats_cli.errors import SlideError
from ats_cli.slides.remote.path import RemotePath

MOST_BYTES = 320 * 1024 * 1024
"""Most bytes of one answer: more than the largest Zarr chunk that is read."""


class TemporaryFailure(Exception):
    """A failure that may not happen again, such as a broken connection or a busy server.

    reason: without the URL.
    received: bytes received before the failure.
    answered: whether a server answered.
    pause: seconds that the server asks to wait.
    final: the error to raise if retries fail; None makes one from `reason`.
    """

    def __init__(
        self,
        reason: str,
        received: int = 0,
        answered: bool = False,
        pause: float = 0.0,
        final: SlideError | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.received, self.answered, self.pause, self.final = reason, received, answered, pause, final


class WholeOnlyError(SlideError):
    """A slide that can be read only after it is downloaded as a whole."""


class ObjectMissingError(SlideError):
    """An object that does not exist."""


class Answer(NamedTuple):
    """Bytes, the size of the whole object, and its version (ETag or the like); None if the server gives none."""

    data: bytes
    size: int
    version: str | None


class RemoteObject(Protocol):
    """`get` requests bytes [start, stop), or the last -start bytes if start is below 0. It runs in `loop`."""

    path: RemotePath
    loop: asyncio.AbstractEventLoop

    async def get(self, start: int, stop: int) -> Answer: ...


def denied(code: int | str) -> SlideError:
    return SlideError(f"access denied ({code}). Check the credentials; a presigned URL must be whole and still valid.")


def missing(path: RemotePath, code: int | str) -> ObjectMissingError:
    return ObjectMissingError(f"no such file at {path} ({code}). Check the URL.")


def no_ranges() -> WholeOnlyError:
    return WholeOnlyError("this server gives whole files only, no byte ranges. Fetch it whole with --download.")


def other_bytes() -> WholeOnlyError:
    return WholeOnlyError("this server sends other bytes than it is asked for. Fetch it whole with --download.")


def byte_range(start: int, stop: int) -> str:
    """Return the value of the header `Range`."""
    return f"bytes={start}" if start < 0 else f"bytes={start}-{stop - 1}"


def content_range(header: str | None, start: int, stop: int) -> int:
    """Return the object's size from `bytes 0-99/1234`. Raises WholeOnlyError if it is not the requested range."""
    found = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", (header or "").strip())
    if found is None:
        raise no_ranges()
    first, last, size = map(int, found.groups())
    requested_start = max(0, size + start) if start < 0 else start
    if first != requested_start or last >= requested_start + expected(start, stop, size):
        raise other_bytes()
    return size


def expected(start: int, stop: int, size: int) -> int:
    """Return the bytes that an answer has, for an object of `size` bytes. Raises SlideError if they are too many."""
    count = min(-start, size) if start < 0 else max(0, min(stop, size) - start)
    if count > MOST_BYTES:
        raise SlideError(
            f"the server promises {count / 1e6:,.0f} MB in one piece, too many to be held in memory. "
            "Check the URL, or store it in smaller pieces."
        )
    return count


def connection_problem(error: BaseException) -> str:
    """Return what broke a connection, in words without the URL."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "the server could not be reached"
    return f"the connection broke, {type(error).__name__}"
