"""Find the registered format of a file. Formats registered later come first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ats_cli.registry import FORMATS
from ats_cli.slides.format import Format


def formats() -> Iterator[Format]:
    """Yield the formats in the order in which they are tried: the last one registered comes first.

    Those of other packages that cannot be imported are left out with a warning.
    """
    members = (FORMATS.importable(name) for name in reversed(FORMATS.names))
    return (member for member in members if member is not None)


def format_of(path: Path, head: bytes) -> Format | None:
    """Return the format of a file or folder by its content; None if no format accepts it."""
    return next((item for item in formats() if item.sniff(path, head)), None)


def extensions() -> tuple[str, ...]:
    """Return the extensions of all formats. A file that the user names is opened whatever its extension."""
    return tuple(extension for item in formats() for extension in item.extensions)


def may_be_slide(path: Path) -> bool:
    """Whether a search of folders takes a file for a slide."""
    return any(item.may_be_slide(path) for item in formats())


def is_slide_folder(folder: Path) -> bool:
    """Whether a search of folders takes a folder for one slide. Raises OSError if it cannot be listed."""
    return any(item.is_slide_folder(folder) for item in formats())
