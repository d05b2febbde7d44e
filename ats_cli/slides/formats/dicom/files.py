"""Which files are DICOM, by their content, and which belong to one series. No pydicom until a header is read."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

EXTENSIONS = (".dcm", ".dicom")

# Series of files whose headers were read, some 300 bytes each. A folder of more files is read anew for each slide.
_MOST_FILES = 1 << 16
_MOST_LINKS = 40


def has_dicom_head(path: Path) -> bool:
    """Whether the content of a file begins as that of a DICOM does. No for what is no file, or cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb", buffering=0) as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM: called so, or by its content where its name has no extension."""
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in EXTENSIONS:
        return _is_file(path)
    # Without an extension, they are called by numbers and dots, as a rule.
    return (not path.suffix or path.suffix[1:].isdigit()) and has_dicom_head(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no access to what it lies in
        return False


def is_dicom_folder(folder: Path) -> bool:
    return folder.is_dir() and any(map(is_dicom, folder.iterdir()))


def link_chain(path: Path) -> list[Path]:
    """A path, and where it leads to if it is a link, link by link."""
    chain = [path]
    while chain[-1].is_symlink() and len(chain) <= _MOST_LINKS:
        chain.append(chain[-1].parent / chain[-1].readlink())
    return chain


def group_by_series(*folders: Path) -> dict[str, list[Path]]:
    """The DICOM files in folders, whatever they are called, by the UID of their series: sorted, each file once."""
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
    """The UID of the series that a file belongs to, None if it has none. A file that did not change is read once."""
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
    """The files of a series beside a file and, of a link, beside what it leads to; the file itself comes first."""
    folders = dict.fromkeys(link.parent for link in link_chain(path))
    others = group_by_series(*folders).get(series, [])
    return [path, *(file for file in others if not file.samefile(path))]


def files_within(folder: Path) -> dict[str, list[Path]]:
    """`group_by_series`, and of a single series with links in it also the files beside what these lead to."""
    found = group_by_series(folder)
    if len(found) != 1:
        return found
    ((series, files),) = found.items()
    beyond: Iterable[Path] = dict.fromkeys(link.parent for file in files for link in link_chain(file)[1:])
    return {series: group_by_series(folder, *beyond)[series]}
