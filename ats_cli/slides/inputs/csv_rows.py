"""The rows of a CSV table, with commas, semicolons or tabs, in UTF-8 or UTF-16."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ats_cli.errors import SlideError
from ats_cli.text import csv_text

LONGEST_LINE = 2**20
"""Characters. A longer line is no line of a table."""

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}

_ENCODINGS = {  # by the mark at the start; that of UTF-32 begins as that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_DELIMITER_LINE = re.compile(r'"?sep=([^\w"\r\n])"?[\r\n]*')  # Excel's first line, which it does not show


class _BadLine(Exception):
    """What is wrong with a line: the end of a sentence that begins with its row."""


@dataclass(frozen=True)
class CsvTable:
    """A table: where it is, and how it is written. `content`: its bytes where it can be read only once (a pipe)."""

    file: Path
    content: bytes | None
    encoding: str
    delimiter: str
    has_delimiter_line: bool

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that are not empty, each with its number from 1; cells as `csv_cell` was given them.

        Raises SlideError, a sentence with the file's name and the row, for what is no CSV.
        """
        number, file = 0, self.file
        try:
            with self._open() as stream:
                lines = _lines(stream, self.encoding)
                if self.has_delimiter_line:
                    next(lines)
                reader = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True, strict=True)
                for number, cells in enumerate(reader, start=1):
                    texts = [csv_text(cell) for cell in cells]
                    if any(map(str.strip, texts)):
                        yield number, texts
        except _BadLine as bad:
            raise SlideError(f"{file.name}: row {number + 1} {bad}") from None
        except (csv.Error, UnicodeError) as error:
            raise SlideError(
                f"{file.name}: row {number + 1} could not be read as CSV ({error}). Is a quote not closed?"
            ) from error
        except OSError as error:
            raise _unreadable(file, error) from error

    def _open(self) -> BinaryIO:
        return self.file.open("rb") if self.content is None else io.BytesIO(self.content)


def csv_table(file: Path, is_wanted: Callable[[str], bool]) -> CsvTable:
    """Return how a table is written. The delimiter is the one that parts its first row into cells that `is_wanted`.

    Raises SlideError for a file that cannot be read, and for one that two delimiters part so.
    """
    try:
        content = None if file.is_file() or file.is_dir() else file.read_bytes()
        with io.BytesIO(content) if content is not None else file.open("rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise _unreadable(file, error) from error
    encoding = next((name for mark, name in _ENCODINGS.items() if head.startswith(mark)), "utf-8")
    plain = CsvTable(file, content, encoding, ",", False)
    with plain._open() as stream:
        try:
            line = next(_lines(stream, encoding), "")
        except (_BadLine, UnicodeError):
            return plain  # its rows say why
    if named := _DELIMITER_LINE.fullmatch(line):
        return CsvTable(file, content, encoding, named[1], True)
    first = {delimiter: _first_row(CsvTable(file, content, encoding, delimiter, False)) for delimiter in DELIMITERS}
    found = [delimiter for delimiter, cells in first.items() if len(cells) > 1 and any(map(is_wanted, cells))]
    if len(found) > 1:
        words = " and a ".join(DELIMITERS[delimiter] for delimiter in found)
        raise SlideError(
            f"{file.name}: row 1 can be read with a {words} between its cells. Quote its cells, or remove one of them."
        )
    delimiter = found[0] if found else max(DELIMITERS, key=lambda delimiter: len(first[delimiter]))
    return CsvTable(file, content, encoding, delimiter, False)


def _first_row(table: CsvTable) -> list[str]:
    """The first row that is not empty; nothing where it cannot be read so."""
    try:
        return next(table.rows(), (0, []))[1]
    except SlideError:
        return []


def _lines(stream: BinaryIO, encoding: str) -> Iterator[str]:
    # Bytes that are no UTF-8 become surrogates, so that the row of the first one is known.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    with io.TextIOWrapper(stream, encoding, errors, newline="") as text:
        while line := text.readline(LONGEST_LINE):
            if "\0" in line:
                raise _BadLine("has NUL bytes. Is it a text table? Save it as CSV in UTF-8.")
            if len(line) == LONGEST_LINE:
                raise _BadLine(f"has more than {LONGEST_LINE:,} characters. Is it a CSV table?")
            if not line.isascii() and re.search("[\ud800-\udfff]", line):
                western = line.encode("utf-8", "surrogatepass" if errors == "strict" else errors)
                words = western.decode("cp1252", "replace").strip()[:60]
                raise _BadLine(f"is not in UTF-8 ({words!r} in Windows-1252?). Save it as CSV in UTF-8.")
            yield line


def _unreadable(file: Path, error: OSError) -> SlideError:
    if isinstance(error, FileNotFoundError):
        return SlideError(f"{file.name}: no such file in {file.parent.absolute()}. Check the path.")
    return SlideError(f"{file.name}: could not be read ({error.strerror}). Check its access rights.")
