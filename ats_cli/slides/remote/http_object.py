"""A remote object on a web server, through fsspec's aiohttp session. fsspec's `cat_file` may read whole files."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, BinaryIO

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import (
    Answer,
    TemporaryFailure,
    byte_range,
    connection_problem,
    content_range,
    denied,
    expected,
    missing,
    no_ranges,
    other_bytes,
)
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.retries import time_limit

CONNECT_SECONDS, SILENT_SECONDS = 15.0, 30.0

# Content encodings that leave the bytes unchanged. S3 stores aws-chunked for objects uploaded in chunks.
_UNCHANGED = ("", "identity", "aws-chunked")


class HttpObject:
    """Reads ranges over HTTP. `url`: where the object is, if not at the path's own URL."""

    def __init__(self, path: RemotePath, filesystem: Any, url: str | None = None) -> None:
        self.path, self._fs = path, filesystem
        self.loop: asyncio.AbstractEventLoop = filesystem.loop
        self._url = _exactly(url or path.url)

    async def get(self, start: int, stop: int) -> Answer:
        parts: list[bytes] = []
        with self._translated_errors(parts):
            async with self._reply({"Range": byte_range(start, stop)}) as reply:
                if reply.status == 416 and start <= 0:
                    return Answer(b"", 0, None)
                self._check(reply)
                if reply.status == 206:
                    size = content_range(reply.headers.get("Content-Range"), start, stop)
                    most, too_many = expected(start, stop, size), other_bytes()
                else:
                    # The server may send a whole file if it is not longer than the range.
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
        raise AssertionError("a request returns or raises")

    async def whole(self, file: BinaryIO, most: int) -> int:
        """Write the object to `file` and return its bytes. Raises SlideError if they are more than `most`."""
        received = 0
        file.seek(0)
        file.truncate()
        with self._translated_errors([]):
            # Each byte received extends the time limit.
            async with asyncio.timeout(time_limit(0)) as limit, self._reply({}) as reply:
                started = self.loop.time()
                self._check(reply)
                if (reply.content_length or 0) > most:
                    raise _does_not_fit(reply.content_length, most)
                async for part in reply.content.iter_any():
                    received += len(part)
                    if received > most:
                        raise _does_not_fit(received, most)
                    limit.reschedule(started + time_limit(received))
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
        # No decompression: a few bytes could decompress to any number.
        async with session.get(self._url, headers=headers, **options, auto_decompress=False) as reply:
            yield reply

    @contextlib.contextmanager
    def _translated_errors(self, parts: list[bytes]) -> Iterator[None]:
        """Translate aiohttp's errors to ours. `parts`: the parts of the answer received before the error."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientConnectorDNSError, aiohttp.InvalidURL) as error:
            host = self.path.folders[0]
            unknown = SlideError(f"no server {host} is known. Check the URL and the network.")
            if isinstance(error, aiohttp.InvalidURL):
                raise unknown from None
            # Name servers fail temporarily too, and some then report the host as unknown.
            raise TemporaryFailure("the server's name could not be resolved", final=unknown) from None
        except aiohttp.ClientConnectorCertificateError:
            raise SlideError("the server's certificate is not trusted. Check the URL.") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError) as error:
            raise TemporaryFailure(connection_problem(error), sum(map(len, parts))) from None
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
            raise TemporaryFailure(f"the server answers {status}", answered=True, pause=_seconds(reply.headers))
        if status not in (200, 206):
            raise SlideError(f"the server answers {status}. Check the URL.")
        encoding = str(reply.headers.get("Content-Encoding", "")).strip().lower()
        if encoding not in _UNCHANGED:
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
    """Turn errors of the disk into SlideErrors, so that they are not taken for errors of the connection."""
    try:
        yield
    except OSError as error:
        raise SlideError(
            f"what is fetched cannot be written ({error.strerror}). Set ATS_CACHE to another folder."
        ) from None


def _seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds of `Retry-After`; 0 if it is not a number."""
    text = headers.get("Retry-After", "").strip()
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0.0


def _exactly(url: str) -> Any:
    """Return the URL for aiohttp. An escaped URL is left unchanged, since a signature may cover it."""
    import yarl

    return yarl.URL(url, encoded=url.isascii() and not re.search(r"[\s\"<>\\^`{|}]", url))


def _version(headers: Mapping[str, str]) -> str | None:
    return headers.get("ETag") or headers.get("Last-Modified")
