"""A slide far away: read where it lies if it is made of byte ranges, else fetched whole if the user says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tifffile

from ats_cli.records import SlideError
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader
from ats_cli.slides.remote_answer import WholeOnlyError
from ats_cli.slides.remote_download import fetched, megabytes
from ats_cli.slides.remote_file import RemoteFile
from ats_cli.slides.remote_path import RemotePath
from ats_cli.slides.tiff_facts import openslide_vendor
from ats_cli.slides.tiff_index import index_of
from ats_cli.slides.tiff_reader import TiffReader

_HEADS = {
    b"\x89PNG": "a PNG", b"\xff\xd8\xff": "a JPEG", b"PK": "a zip", b"ZISRAW": "a CZI", b"SQLite": "a Sakura",
    b"\0\0\0\x0cjP": "a JPEG 2000", b"BM": "a BMP", b"RIFF": "a WebP",
}  # fmt: skip
_MANY_FILES = (".mrxs", ".vms", ".vmu")

LocalReader = Callable[[Path, str | None, Plane | None], Reader]


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
    file, delete = fetched(path)
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


def _whole_only(source: RemoteFile, kind: str) -> WholeOnlyError:
    return WholeOnlyError(
        f"{source.path.name}: {kind} is read from a local disk only; where they lie, tiled TIFFs and OME-Zarr are. "
        f"Fetch it whole ({megabytes(source.size)}) with --download (predict, info)."
    )


def _kind(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return next((kind for start, kind in _HEADS.items() if head.startswith(start)), "this file")
