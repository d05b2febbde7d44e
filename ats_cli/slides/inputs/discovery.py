"""Slides from what the user names: files, folders, globs. And an id for each, unique over the whole list."""

from __future__ import annotations

import glob
import logging
import os
import stat
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ats_cli.errors import SlideError
from ats_cli.slides.formats.dicom.files import is_dicom, series_of_file
from ats_cli.slides.formats.lookup import extensions
from ats_cli.slides.identity.file_state import absent
from ats_cli.slides.identity.same_slide import contents_of
from ats_cli.slides.inputs.folder_walk import SYSTEM_FOLDERS, FolderWalk
from ats_cli.slides.remote.path import AnyPath, RemotePath, slide_path
from ats_cli.text import printable

if TYPE_CHECKING:
    from ats_cli.slides.regions.region_files import RegionFile

P = TypeVar("P", bound=AnyPath)

_log = logging.getLogger(__name__)

RUN_FILES = ("prediction.json", "tiles.csv", "draw.npz")
"""What a run writes into the folder of a slide; no part of a slide's id is called so."""

NAMED = 3  # slides that are named in one message

_READERS = 8  # threads that read samples of slides of the same size

LONGEST_NAME = 200
"""Bytes of a part of an id. Names of files go up to 255, with what is written beside them."""


@dataclass(frozen=True)
class SlideSource:
    """One slide to read.

    path: absolute, also where it was named by a relative path: another process may run in another folder.
    mpp: microns per pixel given by hand, or None. group: what the slide is grouped by, or None.
    given: the path as it was named, which tables and records show.
    roi: the file of the regions that its tiles are drawn from; None for the whole slide.
    """

    slide_id: str
    path: AnyPath
    mpp: float | None = None
    group: str | None = None
    given: str = ""
    roi: RegionFile | None = None

    def __post_init__(self) -> None:
        if not self.given:
            object.__setattr__(self, "given", str(self.path))
        if isinstance(self.path, Path):
            object.__setattr__(self, "path", self.path.absolute())


def find_slides(inputs: Sequence[str], mpp: float | None = None) -> list[SlideSource]:
    """The slides that `inputs` name, each once, in the order given; within a folder or a glob, sorted.

    An input is a file, a URL, a folder (searched recursively; what is no slide by its extension is passed over), or a
    glob (`**` reaches into folders). Two names of one file are two slides. What a user may miss, or have twice, is
    logged. Raises SlideError for an input that names nothing.
    """
    found: dict[AnyPath, AnyPath] = {}
    passed: Counter[str] = Counter()
    for item in inputs:
        for path in _expand(item, passed):
            found.setdefault(path if isinstance(path, RemotePath) else entry(path), path)
    unique = one_a_series(list(found.values()))
    sources = [SlideSource(slide_id, path, mpp) for slide_id, path in zip(slide_ids(unique), unique, strict=True)]
    say_passed(passed)
    say_one_file(sources)
    return sources


def say_passed(passed: Counter[str]) -> None:
    """Log what was passed over in folders."""
    if passed:
        counts = ", ".join(f"{count} {what.format('s' * (count > 1))}" for what, count in sorted(passed.items()))
        _log.warning(f"passed over in folders: {counts}. Name one in the call to take it.")


def entry(path: Path) -> Path:
    """What tells the entries of folders apart: a link is another than what it leads to."""
    return Path(os.path.realpath(path.parent), path.name)


def say_one_file(sources: Sequence[SlideSource]) -> None:
    """Log which slides are one file: links, and copies by their size and then by samples of their content."""
    first: dict[tuple[int, int], str] = {}
    again: list[str] = []
    by_size: dict[int, list[SlideSource]] = {}
    for source in sources:
        with suppress(OSError, ValueError):
            facts = os.stat(source.path) if isinstance(source.path, Path) else None  # noqa: PTH116
            same = first.setdefault((facts.st_dev, facts.st_ino), source.slide_id) if facts else source.slide_id
            again += [f"{source.slide_id} (as {same})"] * (same != source.slide_id)
            if facts and same == source.slide_id and stat.S_ISREG(facts.st_mode) and facts.st_size:
                by_size.setdefault(facts.st_size, []).append(source)
    copies: list[str] = []
    candidates = [source for own in by_size.values() if len(own) > 1 for source in own]
    known: dict[str, str] = {}
    for source, content in zip(candidates, contents_of([source.path for source in candidates], _READERS), strict=True):
        same = known.setdefault(content, source.slide_id) if content else source.slide_id
        copies += [f"{source.slide_id} (as {same})"] * (same != source.slide_id)
    for found, what in ((again, "another name"), (copies, "a copy (the same size, head, middle and tail)")):
        if found:
            named = ", ".join(found[:NAMED]) + ", ..." * (len(found) > NAMED)
            count = f"{len(found)} slide{' is' if len(found) == 1 else 's are'}"
            _log.warning(f"{count} {what} of a file that is here already: {named}. Each has its own draw.")


def slide_ids(paths: Sequence[AnyPath]) -> list[str]:
    """An id for each path: its stem, or where stems collide the shortest end of the path that tells them apart.

    Every id names a folder, and is safe to print.

    >>> slide_ids([Path("a/x.svs"), Path("b/x.svs"), Path("b/y.ome.tif")])
    ['a/x', 'b/x', 'y']
    >>> slide_ids([Path("a/x.svs"), Path("a/x.tif")])
    ['x.svs', 'x.tif']
    """
    ids = [safe_name(stem(path.name)) for path in paths]
    longer: dict[int, list[str]] = {}  # of the few that collide: what comes next
    while True:
        count = Counter(ids)
        collide = [i for i, name in enumerate(ids) if count[name] > 1]
        for i in collide:
            if i not in longer:
                longer[i] = _candidates(paths[i])[:0:-1]
        collide = [i for i in collide if longer[i]]
        if not collide:
            return ids
        for i in collide:
            ids[i] = longer[i].pop()


def _candidates(path: AnyPath) -> list[str]:
    """Ids from short to long: the stem, the name, the same with one folder before it, with two ..."""
    place = path.folders if isinstance(path, RemotePath) else _folders(path)
    folders = tuple(map(safe_name, place))
    ids = [
        "/".join((*folders[len(folders) - depth :], last))
        for depth in range(len(folders) + 1)
        for last in map(safe_name, (stem(path.name), path.name))
    ]
    # Paths may differ in what an id does not show alone: of a URL its query, of a file a control character.
    exact = path.url if isinstance(path, RemotePath) else "/".join((*place, path.name))
    return ids if exact == ids[-1] else [*ids, _numbered(ids[-1], exact)]


def safe_name(name: str) -> str:
    """A name for a folder or, with an ending, a file of a slide: safe to print, not too long, not one of RUN_FILES."""
    part = printable(name)
    if len(part.encode()) > LONGEST_NAME:
        part = _numbered(part.encode()[: LONGEST_NAME - 9].decode(errors="ignore"), name)
    return f"_{part}" if part in RUN_FILES or not part.strip(". ") else part


def _numbered(name: str, exact: str) -> str:
    return f"{name}-{zlib.crc32(exact.encode(errors='surrogatepass')):08x}"


def _folders(path: Path) -> tuple[str, ...]:
    # ".." names no folder, so it is followed to where it leads.
    folder = path.parent.resolve() if ".." in path.parts else path.parent.absolute()
    return folder.parts[1:]


def stem(name: str) -> str:
    """A file's name without its extension, both parts of `.ome.tif`, all of `.ome.zarr.zip`."""
    longest = max((extension for extension in extensions() if name.lower().endswith(extension)), key=len, default="")
    base = name.removesuffix(name[len(name) - len(longest) :])
    base = base[:-4] if base.lower().endswith(".ome") else base
    return name if base in RUN_FILES or not base.strip(". ") else base


def _expand(item: str, passed: Counter[str]) -> Sequence[AnyPath]:
    if not item.strip():
        # An unset variable in a script would otherwise mean the whole of the current folder.
        raise SlideError("an empty name is no slide. Check the variable or the list that it came from.")
    path = slide_path(item)
    if isinstance(path, RemotePath):
        if glob.has_magic(str(path)) or item.endswith("/"):
            raise SlideError(
                f"{path.name}: folders and globs are searched on local disks only. List the URLs in a manifest."
            )
        return [path]
    try:
        return _in_files(item, path, passed)
    except OSError as error:
        raise SlideError(
            f"{path.name}: could not be searched for ({error.strerror}). Check the path and its access rights."
        ) from error


def _in_files(item: str, path: Path, passed: Counter[str]) -> Sequence[Path]:
    walk = FolderWalk()
    if path.is_dir():
        with os.scandir(path):  # a folder that is named itself must be one that can be read
            found = list(walk.slides(path))
        passed.update(walk.passed)
        if not found:
            raise SlideError(f"{path.name or item}: no slide in this folder. Looked for {', '.join(extensions())}.")
        return found
    if path.exists():
        return [path]
    pattern = str(path) if item.startswith("~") else item  # a path would lose a slash at its end
    if not glob.has_magic(pattern):
        raise absent(path)
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 (absolute patterns)
    inside = SYSTEM_FOLDERS - set(path.parts)
    matches = [match for match in matches if not inside & set(match.parts)]
    found = [slide for match in matches for slide in walk.slides(match)]
    passed.update(walk.passed)
    # A glob that names no known extension means what it matches.
    found = found or [match for match in matches if match.is_file()]
    if not found:
        raise SlideError(f"{item}: nothing matches. Looked for {', '.join(extensions())}.")
    return found


def one_a_series(paths: Sequence[P]) -> list[P]:
    """The paths but the files of a DICOM series after the first of those in a folder: they are one slide."""
    series: set[tuple[Path, str]] = set()
    first_files: list[P] = []
    for path in paths:
        if isinstance(path, Path) and is_dicom(path):
            key = (path.parent.resolve(), series_of_file(path) or path.name)
            if key in series:
                continue
            series.add(key)
        first_files.append(path)
    return first_files
