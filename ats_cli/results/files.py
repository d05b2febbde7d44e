"""Files are written completely or not at all: under a temporary name, then renamed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.text import csv_cell, json_text


def write_whole(path: Path, content: bytes) -> None:
    """Write a file and make its folder. An existing file is replaced completely or stays as it is.

    Raises OSError with the name of the file, not of the temporary one, if it cannot be written.
    """

    def write(part: Path) -> None:
        part.write_bytes(content)

    write_together({path: write})


def write_if_new(path: Path, content: bytes) -> None:
    """Write a file unless it has this content already. OSError as `write_whole`."""
    if not path.is_file() or path.read_bytes() != content:
        write_whole(path, content)


def write_together(writes: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write several files or folders: each function writes to the path that it is given, which is then renamed.

    All are written before the first is renamed, in the order given, so where the disk is full, none has changed.
    OSError as `write_whole`.
    """
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in writes}
    path = Path()
    try:
        for path, write in writes.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            delete(beside[path])
            write(beside[path])
        for path, part in beside.items():
            if part.is_dir():  # a folder replaces no folder that has files
                delete(path)
            part.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        for part in beside.values():
            with suppress(OSError):
                delete(part)


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; nothing if there is none. OSError where that fails."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_dangling_link(path: Path) -> None:
    """Raise AtsError if an output, or a folder above it, is a broken link, as when a disk is not mounted."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise AtsError(
                f"{place}: a link to {place.readlink()}, which is not there. Mount or make it, or write elsewhere."
            )


def delete_parts(folder: Path) -> None:
    """Delete the temporary files of an interrupted process anywhere below `folder`."""
    for part in folder.rglob(".*.part"):
        with suppress(OSError):
            delete(part)


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as CSV in UTF-8. None is an empty cell, floats have all digits, no text is a formula."""
    text = io.StringIO(newline="")
    # csv.writer quotes cells with a character of the line terminator: so "\r" in a cell, which readers take for a line
    # end, is quoted too.
    csv.writer(_Lines(text), lineterminator="\r\n").writerows(map(csv_cell, row) for row in rows)
    return text.getvalue().encode("utf-8")


class _Lines:
    """Replaces the line terminator of csv.writer, which writes line by line, with a newline."""

    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    def write(self, line: str) -> None:
        self._text.write(line.removesuffix("\r\n") + "\n")


def json_bytes(value: object, allow_nan: bool = False, indent: int | None = 2) -> bytes:
    """Return a JSON document in UTF-8 that any parser reads whatever names are in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=allow_nan, indent=indent)
    return (json_text(text) + "\n").encode("utf-8")
