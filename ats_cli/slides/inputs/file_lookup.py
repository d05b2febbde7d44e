"""Files as tables name them: in another normal form of Unicode, or without their extension."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ats_cli.errors import SlideError
from ats_cli.slides.formats.lookup import extensions, is_slide_folder
from ats_cli.text import existing_path


class FileLookup:
    """Finds files by the names that a table gives them. Each folder is listed once, and only where names are not exact.

    Linux writes composed names ("ö"), macOS decomposed ones ("o" and its dots), and a copy keeps them.
    """

    def __init__(self) -> None:
        self._names = lru_cache(64)(_names)
        self._stems = lru_cache(64)(_stems)
        self._folder = lru_cache(1024)(self.file)

    def file(self, path: Path) -> Path:
        """Return the file or folder that `path` names; `path` itself if there is none.

        Raises SlideError where two differ from it in their normal form only.
        """
        if _exists(path):
            return path
        text = str(path)
        if "\\" in text:
            with suppress(OSError):  # a name that is too long, a folder without access: it fails when its turn comes
                path = existing_path(text)
                slashes = Path(text.replace("\\", "/"))  # as Windows parts folders
                path = slashes if not _exists(path) and _exists(slashes) else path
        if text.isascii() or path == path.parent:
            return path
        folder = self._folder(path.parent)
        names = self._names(folder).get(_composed(path.name), [])
        return folder / (_only(names, path.name) or path.name)

    def slide(self, path: Path) -> Path:
        """Return the slide that `path` names, with or without its extension (both parts of `.ome.tif`).

        `path` itself if there is none. Raises SlideError where there are several.
        """
        if os.path.isfile(path):  # noqa: PTH113 (False for a name that is too long)
            return path
        found = self.file(path)
        if _is_slide(found):
            return found
        names = self._stems(found.parent).get(_composed(found.name), [])
        exact = [name for name in names if name.startswith(f"{found.name}.")]
        name = _only(exact or names, path.name)
        return found if name is None else found.parent / name


def _only(names: list[str], written: str) -> str | None:
    if len(names) < 2:
        return names[0] if names else None
    first, second = sorted(names)[:2]
    shown = ascii if _composed(first) == _composed(second) else repr
    raise SlideError(f"{written} may be {shown(first)} or {shown(second)}. Write the name in full.")


def _is_slide(path: Path) -> bool:
    """Whether a path is there and may be a slide: the folder D beside D.mrxs is a part of one."""
    if not _exists(path):
        return False
    try:
        return not path.is_dir() or path.suffix.lower() in extensions() or is_slide_folder(path)
    except OSError:
        return True


def _names(folder: Path) -> dict[str, list[str]]:
    """The names in a folder, by their composed forms."""
    found: dict[str, list[str]] = {}
    for name in _listed(folder):
        found.setdefault(_composed(name), []).append(name)
    return found


def _stems(folder: Path) -> dict[str, list[str]]:
    """The names in a folder that have the extension of a slide, by their composed forms without it."""
    found: dict[str, list[str]] = {}
    endings = {e.lower() for extension in extensions() for e in (extension, f".ome{extension}")}
    for name in _listed(folder):
        composed = _composed(name)
        for place, character in enumerate(composed):
            if character == "." and place and composed[place:].lower() in endings:
                found.setdefault(composed[:place], []).append(name)
    return found


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (names are needed, not paths)
    except (OSError, ValueError):
        return []


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)  # False for a name that is too long; a link to what is not there is found
