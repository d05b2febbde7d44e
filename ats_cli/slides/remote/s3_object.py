"""A remote object in S3. s3fs finds credentials, region and server."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

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
from ats_cli.slides.remote.http_object import CONNECT_SECONDS, SILENT_SECONDS, HttpObject
from ats_cli.slides.remote.path import RemotePath

_SIGNED_SECONDS = 3600
_CONNECTIONS = 64


class S3Object:
    """Reads the first range through the client of s3fs, and the others from a URL that it signs.

    A request through the client costs 1 to 2 ms of CPU, for hundreds of requests per slide. If the signed URL does not
    work, all requests go through the client. They call get_object, which returns size and version; `cat_file` does not.
    """

    def __init__(self, path: RemotePath, filesystem: Any) -> None:
        self.path, self._fs = path, filesystem
        self.loop: asyncio.AbstractEventLoop = filesystem.loop
        url, _, query = path.url.partition("?")
        bucket, key, _ = filesystem.split_path(url)
        version = parse_qs(query).get("versionId", [None])[0]
        self._place = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        self._signed: HttpObject | None = None
        self._signs, self._proved, self._sign_again = True, False, 0.0

    async def get(self, start: int, stop: int) -> Answer:
        if self._signs and start:
            try:
                answer = await (await self._by_signed_url()).get(start, stop)
                self._proved = True
                return answer
            except TemporaryFailure as failure:
                if failure.answered or self._proved:
                    raise
                self._signs = False
            except Exception:  # the client does not need the signed URL, or reports the error better
                self._signs = False
        return await self._by_client(start, stop)

    async def _by_signed_url(self) -> HttpObject:
        import fsspec

        if self._signed is None or time.monotonic() > self._sign_again:
            self._sign_again = time.monotonic() + _SIGNED_SECONDS / 2
            client = await self._fs.get_s3(self._place["Bucket"])
            params = {**self._fs.req_kw, **self._place}
            url = await client.generate_presigned_url("get_object", Params=params, ExpiresIn=_SIGNED_SECONDS)
            self._signed = HttpObject(self.path, fsspec.filesystem("https"), url)
        return self._signed

    async def _by_client(self, start: int, stop: int) -> Answer:
        import botocore.exceptions as boto

        received = 0
        try:
            reply = await self._fs._call_s3("get_object", **self._place, Range=byte_range(start, stop))
            size = self._size(reply, start, stop)
            most = expected(start, stop, size)
            parts: list[bytes] = []
            async with reply["Body"] as body:
                while received <= most and (part := await body.read(most + 1 - received)):
                    parts.append(part)
                    received += len(part)
            if received > most:
                raise other_bytes()
            return Answer(b"".join(parts), size, reply.get("ETag"))
        except SlideError:
            raise
        except (boto.NoCredentialsError, boto.PartialCredentialsError):
            raise SlideError(
                "no credentials for S3 were found. Set them as for the AWS command line, "
                "or FSSPEC_S3_ANON=true for a public bucket."
            ) from None
        except boto.EndpointConnectionError:
            raise TemporaryFailure("the server could not be reached") from None
        except (boto.ClientError, boto.BotoCoreError, OSError, TimeoutError) as error:
            if _status(error) == 416 and start <= 0:
                return Answer(b"", 0, None)
            if _status(error) or isinstance(error, (PermissionError, FileNotFoundError, boto.ClientError)):
                raise self._of_answer(error) from None
            raise TemporaryFailure(connection_problem(error), received) from None
        except Exception as error:
            # aiohttp raises its own errors for a truncated body.
            if type(error).__module__.startswith("aiohttp"):
                raise TemporaryFailure(connection_problem(error), received) from None
            raise

    def _size(self, reply: Mapping[str, Any], start: int, stop: int) -> int:
        """Return the object's size. The server may send a whole object if it is not longer than the range."""
        if reply.get("ContentRange") is None:
            size = int(reply.get("ContentLength", stop + 1))
            if start or size > stop:
                raise no_ranges()
            return size
        return content_range(reply["ContentRange"], start, stop)

    def _of_answer(self, error: BaseException) -> Exception:
        """Translate an error of S3, which s3fs may have turned into an error of Python."""
        code, status = str(_response(error).get("Error", {}).get("Code", "")), _status(error)
        if isinstance(error, FileNotFoundError) or status == 404:
            return missing(self.path, code or 404)
        if isinstance(error, PermissionError) or status in (401, 403):
            return denied(code or 403)
        if status in (416, 412):
            return SlideError(f"the file is empty or shorter than it was ({status}).")
        return TemporaryFailure(f"the server answers {status or code}")


def _response(error: BaseException) -> Mapping[str, Any]:
    return getattr(error.__cause__ or error, "response", None) or {}


def _status(error: BaseException) -> int:
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def s3_filesystem(scheme: str) -> Any:
    """Return s3fs with as many connections as concurrent requests, and without its own retries."""
    import fsspec

    importlib.import_module("s3fs")
    given = fsspec.config.conf.get(scheme, {}).get("config_kwargs", {})
    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SILENT_SECONDS}
    own = {"max_pool_connections": _CONNECTIONS, "retries": {"max_attempts": 0}, **timeouts}
    filesystem = fsspec.filesystem(scheme, config_kwargs={**own, **given})
    filesystem.retries = 1
    return filesystem
