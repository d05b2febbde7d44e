"""Find DICOM files by their content, and group them by series. pydicom is imported only to read a header."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

EXTENSIONS = (".dcm", ".dicom")

# Files whose series is cached, about 300 bytes each. Folders with more files are read again for each slide.
_MOST_FILES = 1 << 16
_MOST_LINKS = 40


def has_dicom_head(path: Path) -> bool:
    """Whether a file begins like a DICOM. False if it is not a file or cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb", buffering=0) as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM, by its extension; by its content if it has none."""
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in EXTENSIONS:
        return _is_file(path)
    # Names without an extension are usually numbers and dots.
    return (not path.suffix or path.suffix[1:].isdigit()) and has_dicom_head(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no access to its folder
        return False


def is_dicom_folder(folder: Path) -> bool:
    return folder.is_dir() and any(map(is_dicom, folder.iterdir()))


def link_chain(path: Path) -> list[Path]:
    """Return a path and, if it is a link, the path after each link."""
    chain = [path]
    while chain[-1].is_symlink() and len(chain) <= _MOST_LINKS:
        chain.append(chain[-1].parent / chain[-1].readlink())
    return chain


def group_by_series(*folders: Path) -> dict[str, list[Path]]:
    """Return the DICOM files in folders by the UID of their series, with any name; sorted, each file once."""
    found: dict[str, list[Path]] = {}
    known = set()
    for folder in folders:
        with os.scandir(folder) as entries:
            files = sorted(Path(entry) for entry in entries if not entry.name.startswith("."))
        for file in filter(_is_file, files):
            facts = file.stat()
            if (facts.st_dev, facts.st_ino) not in known and (series := series_of_file(file, facts)):
                known.add((facts.st_dev, facts.st_ino))
                found.setdefault(series, []).append(file)
    return found


def series_of_file(path: Path, facts: os.stat_result | None = None) -> str | None:
    """Return the UID of a file's series; None if it has none. Unchanged files are read once."""
    facts = facts or path.stat()
    return _series(path.absolute(), facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.lru_cache(_MOST_FILES)
def _series(path: Path, size: int, changed: int, inode: int) -> str | None:
    if not has_dicom_head(path):
        return None
    from ats_cli.slides.byte_source import LocalFile
    from ats_cli.slides.formats.dicom.index import series_of

    return series_of(LocalFile(path))


def files_beside(path: Path, series: str) -> list[Path]:
    """Return the files of a series in the file's folder and in those of its link targets; the file itself first."""
    folders = dict.fromkeys(link.parent for link in link_chain(path))
    others = group_by_series(*folders).get(series, [])
    return [path, *(file for file in others if not file.samefile(path))]


def files_within(folder: Path) -> dict[str, list[Path]]:
    """Return `group_by_series`. If there is one series with links in it, include the folders of the link targets."""
    found = group_by_series(folder)
    if len(found) != 1:
        return found
    ((series, files),) = found.items()
    beyond: Iterable[Path] = dict.fromkeys(link.parent for file in files for link in link_chain(file)[1:])
    return {series: group_by_series(folder, *beyond)[series]}
