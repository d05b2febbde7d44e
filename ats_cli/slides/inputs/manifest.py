"""A table of slides: CSV with a column slide (or path), and perhaps mpp, label, split, group, weight, roi."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from ats_cli.errors import AtsError, SlideError
from ats_cli.number import parse_number
from ats_cli.paths import user_path
from ats_cli.slides.inputs.csv_rows import DELIMITERS, CsvTable, csv_table
from ats_cli.slides.inputs.file_lookup import FileLookup
from ats_cli.slides.inputs.header import Header, is_slide_column, read_header
from ats_cli.slides.inputs.labels import plain, spellings
from ats_cli.slides.inputs.splits import SPLITS, split_of
from ats_cli.slides.remote.path import AnyPath, RemotePath, slide_path

_log = logging.getLogger(__name__)

MISSING = frozenset({"NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "nan", "NaN", "-nan", "-NaN", "NULL", "null"})
"""What R and pandas write into a cell that is not known. Not "none", which may be a class."""

_LIKE_MISSING = frozenset({word.casefold() for word in MISSING} | {"n.a.", "n.a", "#n/a n/a"})
_UNSURE = (_LIKE_MISSING, _LIKE_MISSING | {"none", "unknown", "missing", "not available", "-", "--", "?", "."})
"""Words, in any case, that may stand for what is not known: in any column, and of a group."""

_SHORTENED = re.compile(r"[0-9][.,][0-9]+E\+[0-9]+")  # a long number as a spreadsheet shows it

NA_WORDS = ("auto", "none")
"""Values of --na: the words of MISSING are missing values, or text as others."""

NAMED = 5  # columns that are named in one message


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row. A value that is missing, or has no column, is None.

    label: as it is written (see `labels.spellings`). split: as of `split_of`. group: one spelling for each group.
    row: its number in the file; the header is row 1.
    """

    path: AnyPath
    mpp: float | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None
    weight: float | None = None
    row: int = field(default=0, compare=False)
    roi: Path | None = None


@dataclass(frozen=True)
class Manifest:
    """A table as it was understood.

    rows: those that were taken. left: the split of each row that was not; "" for none. missing: by column, in how many
    rows its value is missing. unused: columns that are not used, as they are written. merged: of each group that is
    written in several ways, its spellings, each with where it comes first. group_by: the column of the groups.
    """

    file: Path
    rows: tuple[ManifestRow, ...]
    left: tuple[str, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    merged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    group_by: str = "group"

    def groups(self, slide_ids: Sequence[str]) -> list[str]:
        """Return the group of each row: a slide without one is a group of its own, with the name of the slide.

        Raises SlideError where another group has that name.
        """
        named = {row.group for row in self.rows if row.group}
        alone = [(row, slide_id) for row, slide_id in zip(self.rows, slide_ids, strict=True) if not row.group]
        for row, slide_id in alone:
            if slide_id in named:
                raise SlideError(
                    f"{self.file.name}: row {row.row} has no {self.group_by}, and its slide has the name of the group "
                    f"{slide_id}. Fill in its {self.group_by}."
                )
        if alone and named:
            what = f"{len(alone)} of {len(self.rows)} slides have no {self.group_by} (the first: row {alone[0][0].row})"
            _log.warning(f"{self.file.name}: {what}. Each is a group of its own.")
        return [row.group or slide_id for row, slide_id in zip(self.rows, slide_ids, strict=True)]


def read_manifest(
    path: str | Path,
    slides_root: Path | None = None,
    group_by: str | None = None,
    na: str = "auto",
    choose_split: Callable[[Mapping[str, int]], str | None] | None = None,
    with_labels: bool = True,
) -> Manifest:
    """Read a table of slides: paths or URLs; relative paths are in `slides_root`, without it in the table's folder.

    The columns may have the names that CLAM and STAMP give them; others are not used. A slide may be named without its
    extension, where one file only has that name. The `roi` of a row, a GeoJSON file, is beside the table.

    group_by: the column of the groups, instead of group. na: of NA_WORDS. choose_split: given the splits of the table,
    each with its first row, returns the one whose rows are taken, None for all. with_labels: without it, only slide,
    mpp, roi and the column `group_by` are read.

    What was understood otherwise than it is written is logged. Raises SlideError, one sentence with the table's name
    and the row.
    """
    file = Path(path)
    table = csv_table(file, is_slide_column)
    reader = _Reader(table, slides_root or file.parent, group_by, na == "auto")
    if with_labels:
        reader.refuse_columns_for_parts()
    else:
        for name in {"label", "split", "weight"} | ({"group"} if group_by is None else set()):
            reader.header.columns.pop(name, None)
    split = None if choose_split is None else choose_split(reader.splits())
    rows: list[ManifestRow] = []
    left: list[str] = []
    for row in reader.rows(split):
        if split and row.split != split:
            left.append(row.split or "")  # not stored: tables may be long
        else:
            rows.append(row)
    groups = spellings(((row.group, f"row {row.row}") for row in rows if row.group), "group", file.name)
    if any(name != group for group, name in groups.names.items()):
        rows = [replace(row, group=groups.names[row.group]) if row.group else row for row in rows]
    reader.say()
    if sentence := groups.sentence():
        _log.warning(f"{file.name}: {sentence}")
    missing = {name: count for name, count in reader.missing.items() if count}
    return Manifest(file, tuple(rows), tuple(left), missing, reader.unused, groups.merged, group_by or "group")


class _Reader:
    """Reads the rows of one table, one after the other, and counts what is missing in those that are taken."""

    def __init__(self, table: CsvTable, root: Path, group_by: str | None, has_words: bool) -> None:
        self.table, self.root, self.has_words = table, root, has_words
        self.name = table.file.name
        self.lines = table.rows()
        first = next(self.lines, (0, []))[1]
        self._refuse_rows_above_the_header(first)
        self.header: Header = read_header(self.name, first, group_by)
        self.unused = self.header.unused
        self.missing: Counter[str] = Counter()
        self.examples: dict[str, str] = {}  # by column, a word for a missing value and its row
        self._files = FileLookup()
        self._real_folder = lru_cache(4096)(os.path.realpath)

    def _refuse_rows_above_the_header(self, first: Sequence[str]) -> None:
        """Raise SlideError where a row below the first names the column of the slides."""
        if any(map(is_slide_column, first)):
            return
        for number, cells in islice(self.table.rows(), 1, 20):
            if any(map(is_slide_column, cells)):
                raise SlideError(
                    f"{self.name}: row {number} has the names of the columns, but row 1 must have them. Remove the "
                    "rows above it."
                )

    def refuse_columns_for_parts(self) -> None:
        """Raise SlideError where each part of a split has a column: training would learn from the test slides."""
        parts = [name for name in self.unused if split_of(name) in SPLITS]
        if "split" not in self.header.columns and len({split_of(name) for name in parts}) > 1:
            raise SlideError(
                f"{self.name}: row 1 has the columns {', '.join(parts)}, which are not read. Write one column split "
                "with train, val or test in each row, or rename these."
            )

    def splits(self) -> dict[str, int]:
        """Return the splits of the table, as of `split_of`, each with the number of its first row."""
        found: dict[str, int] = {}
        lines = self.table.rows()
        next(lines, None)
        for number, cells in lines:
            if split := split_of((self._values(number, cells) or {}).get("split")):
                found.setdefault(split, number)
        return found

    def rows(self, taken: str | None) -> Iterator[ManifestRow]:
        """Yield all rows. What is missing is counted in those of the split `taken`, None for all."""
        seen: dict[int, int] = {}
        for number, cells in self.lines:
            values = self._values(number, cells)
            if values is None:
                continue
            written = values.get("slide")
            if not written:
                raise SlideError(f"{self.name}: row {number} names no slide. Fill in the column {self.header.key}.")
            slide = self._slide(number, written)
            # Hashes take a tenth of the memory of paths; two of a million have the same in one of 10^7 tables.
            real = slide.url if isinstance(slide, RemotePath) else self._real_file(slide)
            first = seen.setdefault(hash(real), number)
            if first != number:
                raise SlideError(f"{self.name}: row {number} names {written} again, as row {first} does. Remove one.")
            row = ManifestRow(
                slide,
                self._number(number, "mpp", values, "0.25"),
                values.get("label"),
                split_of(values.get("split")) or None,
                values.get("group"),
                self._number(number, "weight", values, "2"),
                number,
                self._regions(number, values.get("roi")),
            )
            if taken in (None, row.split):
                self._count_missing(number, cells, values)
            yield row
        if not seen:
            raise SlideError(f"{self.name}: no rows. Give a header with a column slide, and a row for each slide.")

    def say(self) -> None:
        """Log what is missing by a word, and which columns are not used."""
        if self.examples:
            counts = ", ".join(f"{self.missing[name]} of {name} ({word})" for name, word in self.examples.items())
            _log.warning(f"{self.name}: taken as missing: {counts}. --na none takes such words as text.")
        if unused := self.unused:
            more = f" and {len(unused) - NAMED} more" if len(unused) > NAMED else ""
            _log.warning(f"{self.name}: columns that are not used: {', '.join(unused[:NAMED])}{more}.")

    def _values(self, number: int, cells: Sequence[str]) -> dict[str, str] | None:
        """The values of a row that are not missing, by column; None for an empty row."""
        header, delimiter = self.header, self.table.delimiter
        if any(map(str.strip, cells[header.width :])):
            raise SlideError(
                f"{self.name}: row {number} has {len(cells)} cells under {header.width} columns. "
                f"Name every column, and quote cells that hold a {DELIMITERS.get(delimiter, delimiter)}."
            )
        if not any(cells[i].strip() for i in header.named if i < len(cells)):
            return None
        values = {name: cells[i].strip() for name, i in header.columns.items() if i < len(cells)}
        return {name: cell for name, cell in values.items() if not self._is_missing(number, name, plain(cell))}

    def _is_missing(self, number: int, column: str, text: str) -> bool:
        """Whether a cell has no value. Raises SlideError for a word of which that cannot be known."""
        if not text or (self.has_words and text in MISSING):
            return True
        problem = None
        if column == "group" and _SHORTENED.fullmatch(text):
            problem = "a number that a spreadsheet has shortened. Export the column as text"
        elif self.has_words and column != "slide" and text.casefold() in _UNSURE[column == "group"]:
            problem = "which may be a missing value. Leave the cell empty if it is; --na none takes it as text"
        if problem:
            raise SlideError(f"{self.name}: row {number} has {column} {text!r}, {problem}.")
        return False

    def _count_missing(self, number: int, cells: Sequence[str], values: Mapping[str, str]) -> None:
        for name, i in self.header.columns.items():
            if name not in values:
                self.missing[name] += 1
                if i < len(cells) and (word := plain(cells[i])):
                    self.examples.setdefault(name, f"{word!r} in row {number}")

    def _slide(self, number: int, text: str) -> AnyPath:
        try:
            path = slide_path(text, self.root)
            return path if isinstance(path, RemotePath) else self._files.slide(path)
        except (AtsError, ValueError) as error:
            raise SlideError(f"{self.name}: row {number} names no slide: {error}") from error

    def _regions(self, number: int, text: str | None) -> Path | None:
        if text is None:
            return None
        try:
            return self._files.file(self.table.file.parent / user_path(text))
        except AtsError as error:
            raise SlideError(f"{self.name}: row {number} has roi {error}") from error

    def _real_file(self, path: Path) -> str:
        """The file that a path leads to, with one question to the disk for most."""
        if os.path.islink(path):  # noqa: PTH114 (False where a name is too long)
            return os.path.realpath(path)
        return f"{self._real_folder(path.parent)}/{path.name}"

    def _number(self, number: int, column: str, values: Mapping[str, str], example: str) -> float | None:
        if column not in values:
            return None
        text = plain(values[column])
        try:
            value, problem = parse_number(text), "is not above 0"
        except ValueError as error:
            value, problem = 0.0, str(error)
        if value <= 0:
            where = f"{self.name}: row {number} has {column} {text!r}"
            raise SlideError(f"{where}, which {problem}. Write a number above 0 like {example}.")
        return value
