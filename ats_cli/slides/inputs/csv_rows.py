"""The rows of a CSV file, one after the other, however long it is."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ats_cli.errors import SlideError
from ats_cli.text import csv_text

LONGEST_LINE = 2**20
"""Characters. A longer line is no line of a table."""

_END = "\0end"  # no line of a table: a NUL is refused


def csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows with anything in them and their numbers from 1, cells as `csv_cell` was given them.

    Raises SlideError, one sentence with the file's name, where it is no CSV in UTF-8.
    """
    number = 0
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for number, cells in enumerate(csv.reader(_lines(file, stream)), start=1):
                if cells == [_END]:
                    return
                if cells and cells[-1].endswith(_END):
                    raise SlideError(
                        f"{file.name}: row {number} has a quote that is not closed. Close it, or remove it."
                    )
                if any(cells):
                    yield number, [csv_text(cell) for cell in cells]
    except FileNotFoundError:
        raise SlideError(f"{file.name}: no such file in {file.parent.absolute()}. Check the path.") from None
    except UnicodeDecodeError as error:
        raise SlideError(f"{file.name}: could not be read as CSV in UTF-8 ({error}). Save it so.") from error
    except csv.Error as error:
        raise SlideError(
            f"{file.name}: row {number + 1} could not be read as CSV ({error}). Is a quote not closed?"
        ) from error
    except OSError as error:
        raise SlideError(f"{file.name}: could not be read ({error.strerror}). Check its access rights.") from error


def _lines(file: Path, stream: TextIO) -> Iterator[str]:
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if "\0" in line:
            raise SlideError(f"{file.name}: line {number} has NUL bytes, as in UTF-16. Save it as CSV in UTF-8.")
        if len(line) == LONGEST_LINE:
            raise SlideError(
                f"{file.name}: line {number} has more than {LONGEST_LINE:,} characters. Is it a CSV table?"
            )
        yield line
    yield _END
