"""The slides in a folder. Hidden files, folders of the system or of masks, and what ats wrote are passed over.

An entry that cannot be read counts as a slide: it fails when its turn comes, and the others do not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ats_cli.records import PICTURE_SOFTWARE
from ats_cli.slides.formats.lookup import is_slide_folder, may_be_slide

SYSTEM_FOLDERS = frozenset({
    "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot",  # network storage
    "__MACOSX", ".snapshot", ".zfs", ".Trashes", "$RECYCLE.BIN", "System Volume Information",
})  # fmt: skip
"""What systems keep in folders of their own: thumbnails, deleted files, old states."""

SIDE_FOLDERS = frozenset({"mask", "masks", "thumbnail", "thumbnails", "thumb", "thumbs"})
"""What other tools keep beside slides, in any case: pictures of slides, which are none."""

_FOLDERS_OF_ATS = {
    "run folder{} of ats": ("run.json", frozenset({"schema_version", "settings", "model", "slides"})),
    "model folder{} of ats": ("training.json", frozenset({"started", "settings", "environment"})),
}

_PNG_HEAD = 4096  # bytes; the text of a PNG of ours comes first


class FolderWalk:
    """A search of folders. Each real folder is searched once, however many links lead to it.

    `passed`: how many of what were passed over; {} is for the s of several.
    """

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self._searched: set[Path] = set()

    def slides(self, path: Path) -> Iterator[Path]:
        """The slides at or below `path`, sorted. A slide that is a folder, or has companions, comes once."""
        if not _holds(Path.is_dir, path):
            if _may_be_slide(path) and not self._passes_file(path):
                yield path
            return
        real = _real(path)
        if real in self._searched:
            return
        self._searched.add(real)
        try:
            entries = sorted(path.iterdir())
            is_slide = is_slide_folder(path)
        except OSError:
            yield path
            return
        if is_slide:
            yield path
            return
        if self._passes_folder(path):
            return
        for entry in self._without_companions(entries):
            yield from self.slides(entry)

    def folders(self, path: Path) -> tuple[list[Path], list[Path]]:
        """The folders directly in a folder that are searched, and the slides directly in it, both sorted.

        A folder that is one slide is among the slides. Raises OSError if the folder cannot be listed.
        """
        folders, slides = [], []
        for entry in self._without_companions(sorted(path.iterdir())):
            if not _holds(Path.is_dir, entry):
                slides += [entry] * (_may_be_slide(entry) and not self._passes_file(entry))
            elif is_slide_folder(entry):
                slides.append(entry)
            elif not self._passes_folder(entry):
                folders.append(entry)
        return folders, slides

    def _without_companions(self, entries: list[Path]) -> Iterator[Path]:
        """The entries of a folder but hidden folders, those of the system or of masks, and parts of slides."""
        mirax = {entry.stem for entry in entries if entry.suffix.lower() == ".mrxs"}
        # A slide of Hamamatsu's has its pixels beside it: name.jpg, name(0,1).jpg, name_map2.jpg.
        hamamatsu = tuple(e.stem + mark for e in entries if e.suffix.lower() in (".vms", ".vmu") for mark in ".(_")
        for entry in entries:
            if entry.name in SYSTEM_FOLDERS:
                self.passed["folder{} of the system"] += 1
                continue
            if entry.name.lower() in SIDE_FOLDERS and _holds(Path.is_dir, entry):
                self.passed["folder{} of masks or thumbnails"] += 1
                continue
            if _holds(Path.is_dir, entry) and (entry.name in mirax or entry.name.startswith(".")):
                continue
            if entry.name.startswith(hamamatsu) and entry.suffix.lower() in (".jpg", ".jpeg"):
                continue
            yield entry

    def _passes_folder(self, path: Path) -> bool:
        kind = next((kind for kind, (name, keys) in _FOLDERS_OF_ATS.items() if _has_keys(path / name, keys)), None)
        self.passed.update([kind] if kind else [])
        return kind is not None

    def _passes_file(self, path: Path) -> bool:
        if path.name.startswith("."):
            self.passed["hidden file{}"] += 1
        elif _is_picture_of_ats(path):
            self.passed["picture{} of ats"] += 1
        else:
            return False
        return True


def _may_be_slide(path: Path) -> bool:
    """By its name; a link that leads nowhere and has no extension may have been to a folder of slides."""
    return may_be_slide(path) or (not path.suffix and _holds(Path.is_symlink, path) and not _holds(Path.exists, path))


def _holds(of: Callable[[Path], bool], path: Path) -> bool:
    try:
        return of(path)
    except OSError:  # no access to what it lies in
        return False


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return path.absolute()


def _has_keys(file: Path, keys: frozenset[str]) -> bool:
    """Whether a file is a JSON object with these keys, as ats writes it. Other programs have a run.json, too."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and keys <= content.keys()


def _is_picture_of_ats(path: Path) -> bool:
    """Whether a PNG says that ats drew it: heatmaps beside the slides are no slides."""
    if path.suffix.lower() != ".png" or not _holds(Path.is_file, path):
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(_PNG_HEAD)
    except OSError:
        return False
    return b"tEXtSoftware\0" + PICTURE_SOFTWARE.encode() in head.partition(b"IDAT")[0]
