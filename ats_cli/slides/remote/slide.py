"""A URL that is being opened. Its first bytes are read when a format needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ats_cli.slides.remote.answer import WholeOnlyError
from ats_cli.slides.remote.download import megabytes
from ats_cli.slides.remote.file import RemoteFile
from ats_cli.slides.remote.path import RemotePath

_HEADS = {
    b"\x89PNG": "a PNG", b"\xff\xd8\xff": "a JPEG", b"PK": "a zip", b"ZISRAW": "a CZI", b"SQLite": "a Sakura",
    b"\0\0\0\x0cjP": "a JPEG 2000", b"BM": "a BMP", b"RIFF": "a WebP",
}  # fmt: skip


@dataclass(frozen=True)
class RemoteSlide:
    """A URL to open. `forced`: the user chose the format, regardless of the content."""

    path: RemotePath
    forced: bool = False

    @cached_property
    def file(self) -> RemoteFile:
        """The object at the URL, with its first bytes read."""
        return RemoteFile(self.path)

    def local_only(self, kind: str | None = None) -> WholeOnlyError:
        """Return the error for a format that is read from local disks only. `kind`: its name; None: by the content."""
        kind = kind or _kind(self.file.head)
        return WholeOnlyError(
            f"{kind} is read from a local disk only; where they lie, tiled TIFFs and OME-Zarr are. "
            f"Fetch it whole ({megabytes(self.file.size)}) with --download (predict, info)."
        )


def _kind(head: bytes) -> str:
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return next((kind for start, kind in _HEADS.items() if head.startswith(start)), "this file")
