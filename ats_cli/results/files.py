"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.text import csv_cell, json_text


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, making its folder; an existing one is replaced whole or left as it was.

    OSError, with the name that was asked for, where it cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """The same for several files, by path: all are written beside before the first is renamed, in the order given.

    So where the disk is full, none has changed.
    """
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside[path].write_bytes(content)
        for path, part in beside.items():
            part.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        for part in beside.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)


def refuse_dangling_link(path: Path) -> None:
    """Raise AtsError where an output, or a folder above it, is a link to what is not there: a disk not mounted."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            raise AtsError(
                f"{place}: a link to {place.readlink()}, which is not there. Mount or make it, or write elsewhere."
            )


def delete_parts(folder: Path) -> None:
    """Delete what a killed process left half written, anywhere below `folder`."""
    for part in folder.rglob(".*.part"):
        with suppress(OSError):
            part.unlink()


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as CSV in UTF-8. None is an empty cell; floats have all their digits; no text is run as a formula."""
    text = io.StringIO(newline="")
    # Cells are quoted that hold a character of the line's end, and a return within a cell ends a line for readers.
    csv.writer(_Lines(text), lineterminator="\r\n").writerows(map(csv_cell, row) for row in rows)
    return text.getvalue().encode("utf-8")


class _Lines:
    """Ends the lines of csv.writer, which come one by one, with a newline alone."""

    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    def write(self, line: str) -> None:
        self._text.write(line.removesuffix("\r\n") + "\n")


def json_bytes(value: object, allow_nan: bool = False) -> bytes:
    """Return a JSON document in UTF-8, indented, that any parser reads whatever names are in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=allow_nan, indent=2)
    return (json_text(text) + "\n").encode("utf-8")
