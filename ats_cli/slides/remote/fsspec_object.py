"""A remote object in any other file system of fsspec."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import Answer, TemporaryFailure, connection_problem, denied, expected, missing
from ats_cli.slides.remote.path import RemotePath

_VERSION_SECONDS = 5.0


class FsspecObject:
    """Reads ranges through fsspec. Answers have no version, so it is requested separately, every few seconds."""

    def __init__(self, path: RemotePath, filesystem: Any, place: str) -> None:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        self.path = path
        self._fs = filesystem if filesystem.async_impl else AsyncFileSystemWrapper(filesystem)
        self.loop: asyncio.AbstractEventLoop = self._fs.loop
        self._place = place
        self._known: asyncio.Future[tuple[int, str | None]] | None = None
        self._requested_at = 0.0

    async def get(self, start: int, stop: int) -> Answer:
        try:
            size, version = await self._size_and_version()
            expected(start, stop, size)
            start = max(0, size + start) if start < 0 else start
            data = await self._fs._cat_file(self._place, start=start, end=min(stop, size)) if start < size else b""
            return Answer(data, size, version)
        except SlideError:
            raise
        except FileNotFoundError:
            raise missing(self.path, "not found") from None
        except PermissionError:
            raise denied("denied") from None
        except (OSError, TimeoutError) as error:
            raise TemporaryFailure(connection_problem(error)) from None
        except Exception as error:
            status = getattr(error, "status", None) or getattr(error, "code", None) or getattr(error, "status_code", 0)
            if status in (401, 403):
                raise denied(status) from None
            raise TemporaryFailure(connection_problem(error)) from None

    async def _size_and_version(self) -> tuple[int, str | None]:
        """Return size and version. Concurrent calls share one request; a failed one is repeated."""
        known = self._known
        failed = known is not None and known.done() and (known.cancelled() or known.exception() is not None)
        if known is None or failed or time.monotonic() > self._requested_at + _VERSION_SECONDS:
            self._requested_at = time.monotonic()
            known = self._known = asyncio.ensure_future(self._facts())
        return await asyncio.shield(known)

    async def _facts(self) -> tuple[int, str | None]:
        info: Mapping[str, Any] = await self._fs._info(self._place)
        names = (
            "etag",
            "ETag",
            "generation",
            "md5Hash",
            "last_modified",
            "LastModified",
            "updated",
            "mtime",
            "created",
        )
        return int(info["size"]), next((str(info[name]) for name in names if info.get(name)), None)
