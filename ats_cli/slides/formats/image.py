"""The format `image`: plain images, decoded as a whole. It comes last and accepts any file."""

from __future__ import annotations

from pathlib import Path

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import LocalFile
from ats_cli.slides.format import Format
from ats_cli.slides.formats.image_reader import ImageReader
from ats_cli.slides.formats.tiff.format import is_tiff
from ats_cli.slides.formats.tiff.reader import read_index
from ats_cli.slides.plane import Plane, only_one
from ats_cli.slides.reader import Reader


class ImageFormat(Format):
    name = "image"
    extensions = (".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".bmp", ".webp", ".ppm")

    def sniff(self, path: Path, head: bytes) -> bool:
        return bool(head)

    def open(self, path: Path, plane: Plane | None) -> Reader:
        with path.open("rb") as stream:
            head = stream.read(4)
        if not is_tiff(head):
            only_one(plane)
            return ImageReader(path)
        # Pillow shows the first of several planes, and only the high byte of 16-bit samples.
        index = read_index(LocalFile(path), plane)
        if not index.by_pillow:
            raise SlideError("not an image that is decoded whole. Leave out --backend.")
        return ImageReader(path, index.facts.mpp, index.facts.mpp_source)


FORMAT = ImageFormat()
