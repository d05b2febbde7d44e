"""One object on a web server, through fsspec's session of aiohttp: its own `cat_file` would take all for a range."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, BinaryIO

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import (
    Answer,
    Passing,
    byte_range,
    content_range,
    denied,
    expected,
    missing,
    no_ranges,
    of_connection,
    other_bytes,
)
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.retries import time_limit

CONNECT_SECONDS, SILENT_SECONDS = 15.0, 30.0

# S3 keeps the last of these for objects that were sent to it in pieces; their bytes are as they are.
_AS_IT_IS = ("", "identity", "aws-chunked")


class HttpObject:
    """`url`: where it is, if not at the path's own URL."""

    def __init__(self, path: RemotePath, filesystem: Any, url: str | None = None) -> None:
        self.path, self._fs = path, filesystem
        self.loop: asyncio.AbstractEventLoop = filesystem.loop
        self._url = _exactly(url or path.url)

    async def get(self, start: int, stop: int) -> Answer:
        parts: list[bytes] = []
        with self._sentences(parts):
            async with self._reply({"Range": byte_range(start, stop)}) as reply:
                if reply.status == 416 and start <= 0:
                    return Answer(b"", 0, None)
                self._check(reply)
                if reply.status == 206:
                    size = content_range(reply.headers.get("Content-Range"), start, stop)
                    most, too_many = expected(start, stop, size), other_bytes()
                else:
                    # A file that is no longer than what was asked for may come whole.
                    size, too_many = reply.content_length, no_ranges()
                    if start or (size is not None and size > stop):
                        raise too_many
                    most = expected(0, stop, stop if size is None else size)
                received = 0
                async for part in reply.content.iter_any():
                    parts.append(part)
                    received += len(part)
                    if received > most:
                        raise too_many
                return Answer(b"".join(parts), received if size is None else size, _version(reply.headers))
        raise AssertionError("what is not answered is raised")

    async def whole(self, file: BinaryIO, most: int) -> int:
        """Write all of it to `file`; how many bytes that are. Raises SlideError where they are more than `most`."""
        received = 0
        file.seek(0)
        file.truncate()
        with self._sentences([]):
            # However slow, each byte that comes gives it time for others.
            async with asyncio.timeout(time_limit(0)) as limit, self._reply({}) as reply:
                begun = self.loop.time()
                self._check(reply)
                if (reply.content_length or 0) > most:
                    raise _does_not_fit(reply.content_length, most)
                async for part in reply.content.iter_any():
                    received += len(part)
                    if received > most:
                        raise _does_not_fit(received, most)
                    limit.reschedule(begun + time_limit(received))
                    with _full_disk():
                        file.write(part)
        return received

    @contextlib.asynccontextmanager
    async def _reply(self, headers: dict[str, str]) -> AsyncIterator[Any]:
        import aiohttp

        session = await self._fs.set_session()
        options = dict(self._fs.kwargs)
        headers = {**options.pop("headers", {}), **headers, "Accept-Encoding": "identity"}
        options.setdefault("timeout", aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS))
        # A few bytes could unpack to any number.
        async with session.get(self._url, headers=headers, **options, auto_decompress=False) as reply:
            yield reply

    @contextlib.contextmanager
    def _sentences(self, parts: list[bytes]) -> Iterator[None]:
        """aiohttp's errors as ours. `parts`: what came of the answer before."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientConnectorDNSError, aiohttp.InvalidURL) as error:
            host = self.path.folders[0]
            unknown = SlideError(f"no server {host} is known. Check the URL and the network.")
            if isinstance(error, aiohttp.InvalidURL):
                raise unknown from None
            # Name servers fail as others do, and some of them call what they could not ask unknown.
            raise Passing("the server's name could not be resolved", final=unknown) from None
        except aiohttp.ClientConnectorCertificateError:
            raise SlideError("the server's certificate is not trusted. Check the URL.") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError) as error:
            raise Passing(of_connection(error), sum(map(len, parts))) from None
        except aiohttp.ClientError as error:
            raise SlideError(f"the server could not be read ({type(error).__name__}).") from None

    def _check(self, reply: Any) -> None:
        status = reply.status
        if status in (401, 403, 407):
            raise denied(status)
        if status in (404, 410):
            raise missing(self.path, status)
        if status == 416:
            raise SlideError(f"the file is empty or shorter than it was ({status}).")
        if status in (408, 425, 429) or status >= 500:
            raise Passing(f"the server answers {status}", answered=True, pause=_seconds(reply.headers))
        if status not in (200, 206):
            raise SlideError(f"the server answers {status}. Check the URL.")
        encoding = str(reply.headers.get("Content-Encoding", "")).strip().lower()
        if encoding not in _AS_IT_IS:
            raise SlideError(
                f"the server sends it compressed (Content-Encoding: {encoding[:20]}), and no part of "
                "that can be read by itself. Let the server send it as it is."
            )


def _does_not_fit(size: int, most: int) -> SlideError:
    return SlideError(
        f"its {size / 1e6:,.1f} MB or more do not fit on the disk, where {most / 1e6:,.1f} MB are free. "
        "Set ATS_CACHE to another folder."
    )


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    """An error of the disk is none of the connection."""
    try:
        yield
    except OSError as error:
        raise SlideError(
            f"what is fetched cannot be written ({error.strerror}). Set ATS_CACHE to another folder."
        ) from None


def _seconds(headers: Mapping[str, str]) -> float:
    """What `Retry-After` asks for, where it is a number."""
    text = headers.get("Retry-After", "").strip()
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0.0


def _exactly(url: str) -> Any:
    """For aiohttp: a URL that is escaped already stays as it is to the letter, since a signature may cover it."""
    import yarl

    return yarl.URL(url, encoded=url.isascii() and not re.search(r"[\s\"<>\\^`{|}]", url))


def _version(headers: Mapping[str, str]) -> str | None:
    return headers.get("ETag") or headers.get("Last-Modified")
