"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


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


def delete_parts(folder: Path) -> None:
    """Delete what a killed process left half written, anywhere below `folder`."""
    for part in folder.rglob(".*.part"):
        with suppress(OSError):
            part.unlink()


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as CSV in UTF-8. None is an empty cell; floats have all their digits."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")
