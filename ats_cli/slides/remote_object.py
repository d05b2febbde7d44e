"""One object far away: a byte range of it, by fsspec and what it brings. Every answer says of which version it is.

Requests run in fsspec's own event loop. What goes wrong is one of two: `Passing`, worth another try, or a SlideError
that says what to do. Errors of the libraries go no further, since they show the URL.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs

from ats_cli.records import SlideError
from ats_cli.slides.remote_path import RemotePath

_CONNECT_SECONDS, _SILENT_SECONDS, _VERSION_SECONDS = 15.0, 30.0, 5.0
_SIGNED_SECONDS = 3600
_CONNECTIONS = 64
_EXTRAS = {"http": "http", "https": "http", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_EXTRAS |= {"az": "az", "abfs": "az", "abfss": "az", "adl": "az"}


class Passing(Exception):
    """What may pass: a broken connection, a busy server. `reason` names no URL. `received`: bytes, for nothing.

    `answered`: there is a server, and it said something.
    """

    def __init__(self, reason: str, received: int = 0, answered: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.received, self.answered = reason, received, answered


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
    """`get` asks for bytes start to stop; for the last ones, if start is below 0. It runs in `loop`.

    `whole` writes all of the object to a file.
    """

    path: RemotePath
    loop: asyncio.AbstractEventLoop

    async def get(self, start: int, stop: int) -> Answer: ...
    def whole(self, to: str) -> None: ...


def remote_object(path: RemotePath) -> RemoteObject:
    """The object at a URL; nothing is asked of the network yet. Raises SlideError where a library is missing."""
    import fsspec

    extra = _EXTRAS.get(path.scheme)
    try:
        if extra == "http":
            return _Http(path, fsspec.filesystem(path.scheme))
        if extra == "s3":
            return _S3(path, _s3_filesystem(path.scheme))
        fsspec.get_filesystem_class(path.scheme)
    except ImportError:
        how = f"pip install 'ats-cli[{extra}]'" if extra else f"Install what fsspec needs for {path.scheme}://"
        raise SlideError(f"{path.name}: {path.scheme}:// needs a library that is not here. {how}.") from None
    except ValueError:
        raise SlideError(
            f"{path.name}: {path.scheme}:// is no kind of URL that is read. Use https://, s3://, gs:// or az://."
        ) from None
    try:
        filesystem, place = fsspec.core.url_to_fs(path.url, use_listings_cache=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise SlideError(
            f"{path.name}: {path.scheme}:// could not be set up ({reason.rstrip('.')}). Check the URL, the credentials "
            "and fsspec's settings."
        ) from None
    return _Any(path, filesystem, place)


def _denied(path: RemotePath, code: int | str) -> SlideError:
    return SlideError(
        f"{path.name}: access denied ({code}). Check the credentials; a presigned URL must be whole and still valid."
    )


def _missing(path: RemotePath, code: int | str) -> NotThereError:
    return NotThereError(f"{path.name}: no such file at {path} ({code}). Check the URL.")


def _no_ranges(path: RemotePath) -> WholeOnlyError:
    return WholeOnlyError(
        f"{path.name}: this server gives whole files only, no byte ranges. Fetch it whole with --download."
    )


def _range(start: int, stop: int) -> str:
    return f"bytes={start}" if start < 0 else f"bytes={start}-{stop - 1}"


def _content_range(path: RemotePath, header: str | None, start: int) -> int:
    """The whole size, from `bytes 0-99/1234`."""
    span, _, size = (header or "").removeprefix("bytes ").partition("/")
    if not size.isdigit() or (start >= 0 and span.partition("-")[0] != str(start)):
        raise _no_ranges(path)
    return int(size)


class _Http:
    """Through fsspec's session of aiohttp: its own `cat_file` would take a whole file for a range."""

    def __init__(self, path: RemotePath, filesystem: Any, url: str | None = None) -> None:
        self.path, self._fs = path, filesystem
        self.loop: asyncio.AbstractEventLoop = filesystem.loop
        self._url = _exactly(url or path.url)

    async def get(self, start: int, stop: int) -> Answer:
        import aiohttp

        session = await self._fs.set_session()
        options = dict(self._fs.kwargs)
        headers = {**options.pop("headers", {}), "Range": _range(start, stop), "Accept-Encoding": "identity"}
        options.setdefault("timeout", aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS))
        received = 0
        try:
            async with session.get(self._url, headers=headers, **options) as reply:
                if reply.status == 416 and start <= 0:
                    return Answer(b"", 0, None)
                self._check(reply.status)
                if reply.status == 206:
                    size = _content_range(self.path, reply.headers.get("Content-Range"), start)
                else:
                    # A file that is no longer than what was asked for may come whole.
                    size = reply.content_length if reply.content_length is not None else stop + 1
                    if start or size > stop:
                        raise _no_ranges(self.path)
                parts = []
                async for part in reply.content.iter_any():
                    parts.append(part)
                    received += len(part)
                return Answer(b"".join(parts), size, _version(reply.headers))
        except (aiohttp.ClientConnectorDNSError, aiohttp.InvalidURL):
            host = self.path.folders[0]
            raise SlideError(f"{self.path.name}: no server {host} is known. Check the URL and the network.") from None
        except aiohttp.ClientConnectorCertificateError:
            raise SlideError(f"{self.path.name}: the server's certificate is not trusted. Check the URL.") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError) as error:
            raise Passing(_of_connection(error), received) from None
        except aiohttp.ClientError as error:
            raise SlideError(f"{self.path.name}: the server could not be read ({type(error).__name__}).") from None

    def _check(self, status: int) -> None:
        if status in (200, 206):
            return
        if status in (401, 403, 407):
            raise _denied(self.path, status)
        if status in (404, 410):
            raise _missing(self.path, status)
        if status == 416:
            raise SlideError(f"{self.path.name}: the file is empty or shorter than it was ({status}).")
        if status in (408, 425, 429) or status >= 500:
            raise Passing(f"the server answers {status}", answered=True)
        raise SlideError(f"{self.path.name}: the server answers {status}. Check the URL.")

    def whole(self, to: str) -> None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        _download(self._fs, self.path, self.path.url, to, timeout=timeout)


class _S3:
    """s3fs finds credentials, region and server, and gets the first range. The others go to a URL that it signs.

    A request through its client costs a millisecond or two of processor, hundreds of times a slide. Where such a URL
    does not do, all goes through the client, by its own call: the answer tells size and version, which `cat_file`
    keeps to itself.
    """

    def __init__(self, path: RemotePath, filesystem: Any) -> None:
        self.path, self._fs = path, filesystem
        self.loop: asyncio.AbstractEventLoop = filesystem.loop
        url, _, query = path.url.partition("?")
        bucket, key, _ = filesystem.split_path(url)
        version = parse_qs(query).get("versionId", [None])[0]
        self._place = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        self._signed: _Http | None = None
        self._signs, self._proved, self._sign_again = True, False, 0.0

    async def get(self, start: int, stop: int) -> Answer:
        if self._signs and start:
            try:
                answer = await (await self._by_signed_url()).get(start, stop)
                self._proved = True
                return answer
            except Passing as failure:
                if failure.answered or self._proved:
                    raise
                self._signs = False
            except Exception:  # whatever it is, the client does without, or says it better
                self._signs = False
        return await self._by_client(start, stop)

    async def _by_signed_url(self) -> _Http:
        import fsspec

        if self._signed is None or time.monotonic() > self._sign_again:
            self._sign_again = time.monotonic() + _SIGNED_SECONDS / 2
            client = await self._fs.get_s3(self._place["Bucket"])
            where = {**self._fs.req_kw, **self._place}
            url = await client.generate_presigned_url("get_object", Params=where, ExpiresIn=_SIGNED_SECONDS)
            self._signed = _Http(self.path, fsspec.filesystem("https"), url)
        return self._signed

    async def _by_client(self, start: int, stop: int) -> Answer:
        import botocore.exceptions as boto

        received = 0
        try:
            reply = await self._fs._call_s3("get_object", **self._place, Range=_range(start, stop))
            async with reply["Body"] as body:
                data = await body.read()
            received = len(data)
            size = _content_range(self.path, reply.get("ContentRange"), start)
            return Answer(data, size, reply.get("ETag"))
        except (PermissionError, FileNotFoundError, boto.ClientError) as error:
            raise self._of_answer(error) from None
        except (boto.NoCredentialsError, boto.PartialCredentialsError):
            raise SlideError(
                f"{self.path.name}: no credentials for S3 were found. Set them as for the AWS command line, "
                "or FSSPEC_S3_ANON=true for a public bucket."
            ) from None
        except boto.EndpointConnectionError:
            raise Passing("the server could not be reached") from None
        except (boto.BotoCoreError, OSError, TimeoutError) as error:
            raise Passing(_of_connection(error), received) from None
        except Exception as error:
            # aiohttp's own, of a body that ended too soon.
            if type(error).__module__.startswith("aiohttp"):
                raise Passing(_of_connection(error), received) from None
            raise

    def _of_answer(self, error: BaseException) -> Exception:
        """What S3 says went wrong; s3fs has made Python's own errors of some of it."""
        answer = getattr(error.__cause__ or error, "response", None) or {}
        code = str(answer.get("Error", {}).get("Code", ""))
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if isinstance(error, FileNotFoundError) or status == 404:
            return _missing(self.path, code or 404)
        if isinstance(error, PermissionError) or status in (401, 403):
            return _denied(self.path, code or 403)
        if status in (416, 412):
            return SlideError(f"{self.path.name}: the file is empty or shorter than it was ({status}).")
        return Passing(f"the server answers {status or code}")

    def whole(self, to: str) -> None:
        place = "{Bucket}/{Key}".format(**self._place)
        _download(self._fs, self.path, place, to, version_id=self._place.get("VersionId"))


class _Any:
    """Whatever else fsspec opens. Its answers tell no version: that is asked for beside them, every few seconds."""

    def __init__(self, path: RemotePath, filesystem: Any, place: str) -> None:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        self.path = path
        self._fs = filesystem if filesystem.async_impl else AsyncFileSystemWrapper(filesystem)
        self.loop: asyncio.AbstractEventLoop = self._fs.loop
        self._place = place
        self._known: asyncio.Future[tuple[int, str | None]] | None = None
        self._asked = 0.0

    async def get(self, start: int, stop: int) -> Answer:
        try:
            if self._known is None or time.monotonic() > self._asked + _VERSION_SECONDS:
                self._asked = time.monotonic()
                self._known = asyncio.ensure_future(self._facts())
            size, version = await asyncio.shield(self._known)
            start = max(0, size + start) if start < 0 else start
            data = await self._fs._cat_file(self._place, start=start, end=min(stop, size)) if start < size else b""
            return Answer(data, size, version)
        except FileNotFoundError:
            raise _missing(self.path, "not found") from None
        except PermissionError:
            raise _denied(self.path, "denied") from None
        except (OSError, TimeoutError) as error:
            raise Passing(_of_connection(error)) from None
        except Exception as error:
            status = getattr(error, "status", None) or getattr(error, "code", None) or getattr(error, "status_code", 0)
            if status in (401, 403):
                raise _denied(self.path, status) from None
            raise Passing(_of_connection(error)) from None

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

    def whole(self, to: str) -> None:
        _download(self._fs, self.path, self._place, to)


def _exactly(url: str) -> Any:
    """For aiohttp: a URL that is escaped already stays as it is to the letter, since a signature may cover it."""
    import yarl

    return yarl.URL(url, encoded=url.isascii() and not re.search(r"[\s\"<>\\^`{|}]", url))


def _version(headers: Mapping[str, str]) -> str | None:
    return headers.get("ETag") or headers.get("Last-Modified")


def _of_connection(error: BaseException) -> str:
    """What broke a connection, in words that name no URL."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "the server could not be reached"
    return f"the connection broke, {type(error).__name__}"


def _s3_filesystem(scheme: str) -> Any:
    """s3fs with as many connections as requests in flight, and one try: tries are counted in one place."""
    import fsspec

    importlib.import_module("s3fs")
    given = fsspec.config.conf.get(scheme, {}).get("config_kwargs", {})
    timeouts = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _SILENT_SECONDS}
    own = {"max_pool_connections": _CONNECTIONS, "retries": {"max_attempts": 0}, **timeouts}
    filesystem = fsspec.filesystem(scheme, config_kwargs={**own, **given})
    filesystem.retries = 1
    return filesystem


def _download(filesystem: Any, path: RemotePath, place: str, to: str, **options: Any) -> None:
    from fsspec.asyn import sync

    try:
        sync(filesystem.loop, functools.partial(filesystem._get_file, place, to, **options))
    except Exception as error:
        raise SlideError(f"{path.name}: could not be fetched ({_of_connection(error)}). Try again.") from None
