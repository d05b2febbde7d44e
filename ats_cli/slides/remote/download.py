"""Download remote slides into the cache until they are closed, and delete downloads left by killed processes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import WholeOnlyError
from ats_cli.slides.remote.file import RemoteFile
from ats_cli.slides.remote.header_cache import cache_folder
from ats_cli.slides.remote.http_object import HttpObject
from ats_cli.slides.remote.object import remote_object
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.retries import TimeBudget, with_retries

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

# Without file locks, a download older than this counts as left by a killed process.
_LEFT_OVER_SECONDS = 24 * 3600
_LOCK = ".lock"

_log = logging.getLogger(__name__)


def download_slide(path: RemotePath) -> tuple[Path, Callable[[], None]]:
    """Download a slide into the cache. Return the file, and a function that deletes it."""
    parent = cache_folder() / "downloads"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _delete_left_over(parent)
        folder, lock = _locked_folder(parent)
    except OSError as error:
        raise SlideError(f"nothing can be written to {parent} ({error.strerror}). Set ATS_CACHE.") from None
    delete = functools.partial(_delete, folder, lock)
    try:
        file = folder / path.name
        with file.open("wb") as stream:
            _fetch(path, stream, folder)
    except OSError as error:
        delete()
        raise SlideError(
            f"what is fetched cannot be written to {parent} ({error.strerror}). Set ATS_CACHE to another folder."
        ) from None
    except BaseException:
        delete()
        raise
    return file, delete


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _fetch(path: RemotePath, file: BinaryIO, folder: Path) -> None:
    """Write the whole slide to `file`. Raises SlideError if the disk has too little space."""
    free = shutil.disk_usage(folder).free
    try:
        source = RemoteFile(path)
    except WholeOnlyError:
        remote = remote_object(path)
        if not isinstance(remote, HttpObject):
            raise
        _log.warning("%s: fetching it, of unknown size.", path.name)
        work = with_retries(path, lambda: remote.whole(file, free), TimeBudget())
        received = asyncio.run_coroutine_threadsafe(work, remote.loop).result()
        if not received:
            raise SlideError("the file is empty. Upload it again.") from None
        return
    if source.size > free:
        raise SlideError(
            f"{megabytes(source.size)} do not fit into {folder.parent.parent}, where {megabytes(free)} "
            "are free. Set ATS_CACHE to another folder."
        )
    _log.warning("%s: fetching %s.", path.name, megabytes(source.size))
    source.download(file)


def _locked_folder(parent: Path) -> tuple[Path, BinaryIO]:
    """Create a folder and a lock file beside it. The lock is held until it is closed or the process ends."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = folder.with_name(folder.name + _LOCK).open("ab")
        # Before it was locked, another process may have deleted it as left over.
        if _lock(lock) is not False and folder.with_name(folder.name + _LOCK).exists():
            return folder, lock
        _delete(folder, lock)


def _lock(file: BinaryIO) -> bool | None:
    """Lock a file for this process. Returns False if another process holds the lock, None if locks do not work."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        return None
    return True


def _delete(folder: Path, lock: BinaryIO) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()
    with contextlib.suppress(OSError):
        folder.with_name(folder.name + _LOCK).unlink()


def _delete_left_over(parent: Path) -> None:
    """Delete downloads of killed processes: nobody holds their locks."""
    for folder in {entry.with_name(entry.name.removesuffix(_LOCK)) for entry in parent.iterdir()}:
        with contextlib.suppress(OSError):
            file = folder.with_name(folder.name + _LOCK)
            old = (folder if folder.exists() else file).stat().st_mtime < time.time() - _LEFT_OVER_SECONDS
            if not file.exists():  # a download that has just begun, or one of an earlier version
                if old:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with file.open("ab") as lock:
                free = _lock(lock)
                if free or (free is None and old):
                    _delete(folder, lock)
