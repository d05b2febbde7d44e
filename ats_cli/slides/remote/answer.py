"""What an object far away answers, what may go wrong in it, and how much of it is taken.

What goes wrong is one of two: `Passing`, worth another try, or a SlideError that says what to do. Errors of the
libraries go no further, since they show the URL.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple, Protocol

from ats_cli.errors import SlideError
from ats_cli.slides.remote.path import RemotePath

MOST_BYTES = 320 * 1024 * 1024
"""Of one answer: more than the largest chunk of a Zarr that is read."""


class Passing(Exception):
    """What may pass: a broken connection, a busy server. `reason` names no URL. `received`: bytes, for nothing.

    `answered`: there is a server, and it said something. `pause`: the seconds that it asks to be left alone. `final`:
    what to raise when it does not pass, where there is something better to say than `reason`.
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
    """What can be read once it is on a local disk, and only then."""


class NotThereError(SlideError):
    """An object that does not exist."""


class Answer(NamedTuple):
    """Bytes, the size of the whole object, and what changes when the object does (None where the server tells none)."""

    data: bytes
    size: int
    version: str | None


class RemoteObject(Protocol):
    """`get` asks for bytes start to stop; for the last ones, if start is below 0. It runs in `loop`."""

    path: RemotePath
    loop: asyncio.AbstractEventLoop

    async def get(self, start: int, stop: int) -> Answer: ...


def denied(code: int | str) -> SlideError:
    return SlideError(f"access denied ({code}). Check the credentials; a presigned URL must be whole and still valid.")


def missing(path: RemotePath, code: int | str) -> NotThereError:
    return NotThereError(f"no such file at {path} ({code}). Check the URL.")


def no_ranges() -> WholeOnlyError:
    return WholeOnlyError("this server gives whole files only, no byte ranges. Fetch it whole with --download.")


def other_bytes() -> WholeOnlyError:
    return WholeOnlyError("this server sends other bytes than it is asked for. Fetch it whole with --download.")


def byte_range(start: int, stop: int) -> str:
    """The header `Range`."""
    return f"bytes={start}" if start < 0 else f"bytes={start}-{stop - 1}"


def content_range(header: str | None, start: int, stop: int) -> int:
    """The whole size, from `bytes 0-99/1234`. Raises WholeOnlyError where it is not the range that was asked for."""
    found = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", (header or "").strip())
    if found is None:
        raise no_ranges()
    first, last, size = map(int, found.groups())
    asked = max(0, size + start) if start < 0 else start
    if first != asked or last >= asked + expected(start, stop, size):
        raise other_bytes()
    return size


def expected(start: int, stop: int, size: int) -> int:
    """How many bytes an answer has, of an object of `size`. Raises SlideError where they are too many for one."""
    count = min(-start, size) if start < 0 else max(0, min(stop, size) - start)
    if count > MOST_BYTES:
        raise SlideError(
            f"the server promises {count / 1e6:,.0f} MB in one piece, too many to be held in memory. "
            "Check the URL, or store it in smaller pieces."
        )
    return count


def of_connection(error: BaseException) -> str:
    """What broke a connection, in words that name no URL."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "the server could not be reached"
    return f"the connection broke, {type(error).__name__}"
