"""Detect local files that change while they are read, and refuse paths that are not files or folders."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from ats_cli.errors import SlideError
from ats_cli.slides.reader import Box, Reader, Region

_SPECIAL = {
    stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class FileState(NamedTuple):
    """A state that differs once a file is replaced, written to, truncated or appended to."""

    inode: int
    size: int
    modified_ns: int


def file_state(path: Path) -> FileState | None:
    """Return the current state of a file or folder; None if it cannot be read."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return FileState(facts.st_ino, facts.st_size, facts.st_mtime_ns)


def file_states(paths: Iterable[Path]) -> dict[Path, FileState | None]:
    return {path: file_state(path) for path in paths}


def refuse_special(path: Path) -> None:
    """Raise SlideError for a named pipe, a socket or a device, since reading one may never end."""
    with contextlib.suppress(OSError):
        kind = _SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode))  # noqa: PTH116
        if kind is not None:
            raise SlideError(f"{kind}, not a file. Write the slide to a file and give that.", name=path.name)


def refuse_closed(folder: Path) -> None:
    """Raise SlideError for a folder without permission to list or search it."""
    if folder.is_dir():
        try:
            os.scandir(folder).close()
            os.stat(folder / "a file in it")  # noqa: PTH116
        except FileNotFoundError:
            pass
        except PermissionError:
            raise SlideError(
                "no permission to search this folder. Check its access rights.", name=folder.name
            ) from None


def absent(path: Path) -> SlideError:
    """Return the error for a path at which there is no file."""
    if path.is_symlink():
        return SlideError(f"a link to {path.readlink()}, which is not there. Check where it leads.", name=path.name)
    return SlideError(f"no such file in {path.parent.absolute()}. Check the path.", name=path.name)


def while_unchanged(path: Path, reader: Reader, before: dict[Path, FileState | None]) -> Reader:
    """Return a reader of the slide at `path` that raises SlideError once one of its files has changed.

    before: the states of files before the reader opened them. The state of its other files is taken now.
    """
    states = before | file_states(path for path in reader.files if path not in before)
    if not states:
        return reader
    unchanged = _WhileUnchanged(path, reader, states)
    unchanged.compare()  # the file may have changed while its headers were read
    return cast(Reader, unchanged)


class _WhileUnchanged:
    """Delegates to `reader`, and compares its files before it yields the last region of each read."""

    def __init__(self, path: Path, reader: Reader, states: dict[Path, FileState | None]) -> None:
        self._path, self._reader, self._states = path, reader, states

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._reader, attribute)

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        # A caller may stop after the last region without exhausting the iterator, so compare before that one.
        for number, region in enumerate(self._reader.read(level, boxes, threads), 1):
            if number == len(boxes):
                self.compare()
            yield region

    def compare(self) -> None:
        """Raise SlideError if a file has changed."""
        for path, before in self._states.items():
            if file_state(path) != before:
                which = "the file" if path.name == self._path.name else f"its part {path.name}"
                raise SlideError(f"{which} was changed while it was read. Run it again.")
