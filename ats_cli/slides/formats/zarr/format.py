"""The format `zarr`: OME-Zarr and Zarr arrays, in a folder, a zip or at a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ats_cli.slides.format import Format
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader
from ats_cli.slides.remote.path import RemotePath

if TYPE_CHECKING:
    from ats_cli.slides.remote.slide import RemoteSlide


class ZarrFormat(Format):
    name = "zarr"
    extensions = (".zarr", ".zarr.zip", ".ozx")

    def sniff(self, path: Path, head: bytes) -> bool:
        return head.startswith(b"PK") if head else is_zarr_folder(path)

    def open(self, path: Path, plane: Plane | None) -> Reader:
        from ats_cli.slides.formats.zarr.reader import ZarrReader  # imports zarr, which is slow

        return ZarrReader(path, plane)

    def open_remote(self, slide: RemoteSlide, plane: Plane | None) -> Reader | None:
        if not (slide.forced or _in_zarr(slide.path)):
            return None
        from ats_cli.slides.formats.zarr.reader import ZarrReader
        from ats_cli.slides.remote.zarr_store import remote_store

        return ZarrReader(slide.path, plane, remote_store(slide.path))

    def is_slide_folder(self, folder: Path) -> bool:
        return is_zarr_folder(folder)


def is_zarr_folder(folder: Path) -> bool:
    metadata = (".zgroup", ".zarray", "zarr.json")
    return folder.is_dir() and (folder.suffix == ".zarr" or any((folder / name).is_file() for name in metadata))


def _in_zarr(path: RemotePath) -> bool:
    """Whether the URL names a Zarr or an image in one."""
    parts = (*path.folders, path.name)
    return path.suffix.lower() in ("", ".zarr") and any(part.lower().endswith(".zarr") for part in parts)


FORMAT = ZarrFormat()
