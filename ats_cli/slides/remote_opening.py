"""A slide far away: read where it lies if it is made of byte ranges, else fetched whole if the user says so."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tifffile

from ats_cli.records import SlideError
from ats_cli.slides.header_cache import cache_folder
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader
from ats_cli.slides.remote_file import RemoteFile
from ats_cli.slides.remote_object import WholeOnlyError, remote_object
from ats_cli.slides.remote_path import RemotePath
from ats_cli.slides.tiff_facts import openslide_vendor
from ats_cli.slides.tiff_index import index_of
from ats_cli.slides.tiff_reader import TiffReader

_HEADS = {
    b"\x89PNG": "a PNG", b"\xff\xd8\xff": "a JPEG", b"PK": "a zip", b"ZISRAW": "a CZI", b"SQLite": "a Sakura",
    b"\0\0\0\x0cjP": "a JPEG 2000", b"BM": "a BMP", b"RIFF": "a WebP",
}  # fmt: skip
_MANY_FILES = (".mrxs", ".vms", ".vmu")
_LEFT_OVER_SECONDS = 24 * 3600

LocalReader = Callable[[Path, str | None, Plane | None], Reader]

_log = logging.getLogger(__name__)


def remote_reader(
    path: RemotePath, backend: str | None, plane: Plane | None, local_reader: LocalReader | None
) -> tuple[Reader, Callable[[], None] | None]:
    """The reader of a slide where it lies; or else, if there is `local_reader`, of what is fetched.

    Of the latter, also the call that deletes it. Raises SlideError, one line that begins with the name.
    """
    try:
        return _reader(path, backend, plane), None
    except WholeOnlyError:
        if local_reader is None:
            raise
    file, delete = _fetched(path)
    try:
        return local_reader(file, backend, plane), delete
    except BaseException:
        delete()
        raise


def _reader(path: RemotePath, backend: str | None, plane: Plane | None) -> Reader:
    """The reader of a slide where it lies. Raises WholeOnlyError for one that must be fetched."""
    if path.suffix.lower() in _MANY_FILES:
        raise SlideError(
            f"{path.name}: a slide of many files is read from local disks only. Download its whole folder."
        )
    if backend == "zarr" or (backend is None and _in_zarr(path)):
        return _zarr(path, plane)
    source = RemoteFile(path)
    if not source.head.startswith((b"II", b"MM")) or backend not in (None, "tiff"):
        raise _whole_only(source, _kind(source.head))
    with source.headers() as stream, tifffile.TiffFile(stream, name=path.name, _multifile=False) as tiff:
        vendor = openslide_vendor(tiff)
        if vendor and backend is None:
            raise _whole_only(source, f"a slide of {vendor.title()}'s")
        index = index_of(path.name, tiff, plane)
    if index.whole:
        raise _whole_only(source, "this TIFF")
    return TiffReader(source, index)


def _in_zarr(path: RemotePath) -> bool:
    """Whether the URL is one of a Zarr, or of an image in it."""
    parts = (*path.folders, path.name)
    return path.suffix.lower() in ("", ".zarr") and any(part.lower().endswith(".zarr") for part in parts)


def _zarr(path: RemotePath, plane: Plane | None) -> Reader:
    from ats_cli.slides.remote_store import remote_store  # zarr takes its time to import
    from ats_cli.slides.zarr_reader import ZarrReader

    return ZarrReader(path, plane, remote_store(path))


def _fetched(path: RemotePath) -> tuple[Path, Callable[[], None]]:
    """Download a slide into the cache: the file, and the call that deletes it again."""
    parent = cache_folder() / "downloads"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _delete_left_over(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
    except OSError as error:
        raise SlideError(
            f"{path.name}: nothing can be written to {parent} ({error.strerror}). Set ATS_CACHE."
        ) from None
    delete = functools.partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        file = folder / path.name
        _fetch(path, file)
    except BaseException:
        delete()
        raise
    return file, delete


def _fetch(path: RemotePath, file: Path) -> None:
    """Write the whole slide to `file`, once it is known to fit."""
    try:
        source = RemoteFile(path)
    except WholeOnlyError:
        _log.warning("%s: fetching it, of unknown size.", path.name)
        remote_object(path).whole(str(file))
        return
    free = shutil.disk_usage(file.parent).free
    if source.size > free:
        raise SlideError(
            f"{path.name}: {_megabytes(source.size)} do not fit into {file.parent.parent}, where {_megabytes(free)} "
            "are free. Set ATS_CACHE to another folder."
        )
    _log.warning("%s: fetching %s.", path.name, _megabytes(source.size))
    source.download(str(file))
    if file.stat().st_size != source.size:
        raise SlideError(f"{path.name}: fetched {file.stat().st_size} bytes of {source.size}. Run it again.")


def _whole_only(source: RemoteFile, kind: str) -> WholeOnlyError:
    return WholeOnlyError(
        f"{source.path.name}: {kind} is read from a local disk only; where they lie, tiled TIFFs and OME-Zarr are. "
        f"Fetch it whole ({_megabytes(source.size)}) with --download (predict, info)."
    )


def _kind(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return next((kind for start, kind in _HEADS.items() if head.startswith(start)), "this file")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _delete_left_over(parent: Path) -> None:
    """What a call that was killed left behind."""
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - _LEFT_OVER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
