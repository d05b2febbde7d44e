"""The protocol of a slide format: how it is recognised, and how it is opened. Members are in `registry.FORMATS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader

if TYPE_CHECKING:
    from ats_cli.slides.remote.slide import RemoteSlide


class Format(Protocol):
    """A slide format. Subclass it: `name`, `sniff` and `open` are enough, the other methods have defaults.

    name: its name in `FORMATS`, in --backend, and in records.
    extensions: lower case, with the dot: which files of a folder are taken for slides.
    """

    name: str
    extensions: tuple[str, ...] = ()

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether a file is of this format. `head`: its first 256 bytes, empty for a folder."""
        ...

    def open(self, path: Path, plane: Plane | None) -> Reader:
        """Open a slide in this format, reading headers only.

        Raises SlideError if it cannot be read. The sentence leaves out the file's name: `open_slide` puts it in front.
        """
        ...

    def open_by_content(self, path: Path, plane: Plane | None) -> Reader:
        """Open a slide that `sniff` accepted. May use another format's reader where this one does not support it."""
        return self.open(path, plane)

    def open_remote(self, slide: RemoteSlide, plane: Plane | None) -> Reader | None:
        """Open a URL by byte ranges; None if it is not of this format, or the format is read from disks only."""
        return None

    def may_be_slide(self, path: Path) -> bool:
        """Whether a search of folders takes a file for a slide of this format."""
        return path.name.lower().endswith(self.extensions)

    def is_slide_folder(self, folder: Path) -> bool:
        """Whether a search of folders takes a folder for one slide of this format."""
        return False
