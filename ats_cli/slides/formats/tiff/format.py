"""The format `tiff`: TIFF, BigTIFF, COG, OME-TIFF and Aperio's SVS, on a disk or at a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tifffile

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import LocalFile
from ats_cli.slides.format import Format
from ats_cli.slides.formats.image_reader import ImageReader
from ats_cli.slides.formats.openslide_reader import OpenSlideReader, detect_vendor
from ats_cli.slides.formats.tiff.header_prefetch import refuse_many_directories
from ats_cli.slides.formats.tiff.index import index_of
from ats_cli.slides.formats.tiff.metadata import openslide_vendor
from ats_cli.slides.formats.tiff.reader import TiffReader, read_index
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader

if TYPE_CHECKING:
    from ats_cli.slides.remote.slide import RemoteSlide

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(head: bytes) -> bool:
    return head.startswith(_HEADS)


class TiffFormat(Format):
    name = "tiff"
    extensions = (".tif", ".tiff", ".btf", ".tf8")

    def sniff(self, path: Path, head: bytes) -> bool:
        return is_tiff(head)

    def open(self, path: Path, plane: Plane | None) -> Reader:
        source = LocalFile(path)
        return TiffReader(source, read_index(source, plane))

    def open_by_content(self, path: Path, plane: Plane | None) -> Reader:
        """Open a TIFF by its native tiles; with OpenSlide or Pillow if these cannot be read one by one.

        Aperio slides are read by native tiles too: level 0 has OpenSlide's pixels, several times faster. On lower
        levels OpenSlide divides by the ratio of the levels' sizes (2.0005 for 2) and blurs by the remaining fraction of
        a pixel. A damaged index is refused, since OpenSlide shows tiles that it does not list as white.
        """
        source = LocalFile(path)
        try:
            index = read_index(source, plane)
        except SlideError as error:
            damaged = error.__cause__ is not None
            if damaged or plane is not None or not _is_aperio(path):
                raise
            return OpenSlideReader(path)
        if index.whole is None:
            return TiffReader(source, index)
        if _is_aperio(path):
            return OpenSlideReader(path) if plane is None else TiffReader(source, index)
        return ImageReader(path, index.facts.mpp, index.facts.mpp_source)

    def open_remote(self, slide: RemoteSlide, plane: Plane | None) -> Reader | None:
        if not slide.file.head.startswith((b"II", b"MM")):
            return None
        with slide.file.headers() as stream:
            refuse_many_directories(stream)
            stream.seek(0)
            with tifffile.TiffFile(stream, name=slide.path.name, _multifile=False) as tiff:
                vendor = openslide_vendor(tiff)
                if vendor and not slide.forced:
                    raise slide.local_only(f"a slide of {vendor.title()}'s")
                index = index_of(tiff, plane)
        if index.whole:
            raise slide.local_only("this TIFF")
        return TiffReader(slide.file, index)


def _is_aperio(path: Path) -> bool:
    return detect_vendor(path) == "aperio"


FORMAT = TiffFormat()
