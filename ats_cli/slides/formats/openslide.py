"""The format `openslide`: vendor formats that OpenSlide reads, from a local disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import LocalFile
from ats_cli.slides.format import Format
from ats_cli.slides.formats.openslide_reader import OpenSlideReader, detect_vendor
from ats_cli.slides.formats.tiff.format import is_tiff
from ats_cli.slides.formats.tiff.header_prefetch import refuse_many_directories
from ats_cli.slides.plane import Plane, only_one
from ats_cli.slides.reader import Reader

if TYPE_CHECKING:
    from ats_cli.slides.remote.slide import RemoteSlide

# Vendors whose files the TIFF reader reads. None: OpenSlide does not know the file.
_READ_AS_TIFF = (None, "aperio", "generic-tiff")
_SEVERAL_FILES = (".mrxs", ".vms", ".vmu")


class OpenSlideFormat(Format):
    name = "openslide"
    extensions = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide")

    def sniff(self, path: Path, head: bytes) -> bool:
        if not head:
            return False
        if is_tiff(head):
            with LocalFile(path).headers() as stream:
                refuse_many_directories(stream)  # OpenSlide would read all of them, which may take minutes
        return detect_vendor(path) not in _READ_AS_TIFF

    def open(self, path: Path, plane: Plane | None) -> Reader:
        only_one(plane)
        return OpenSlideReader(path)

    def open_remote(self, slide: RemoteSlide, plane: Plane | None) -> Reader | None:
        if slide.path.suffix.lower() in _SEVERAL_FILES:
            raise SlideError("a slide of many files is read from local disks only. Download its whole folder.")
        return None


FORMAT = OpenSlideFormat()
