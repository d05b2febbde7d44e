"""The header of a table of slides: which column is which, by the names that ats and other tools give them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ats_cli.errors import SlideError
from ats_cli.slides.inputs.labels import plain

COLUMNS = ("slide", "path", "mpp", "label", "split", "group", "weight", "roi")

OTHER_NAMES = {
    "slide_id": "slide", "filename": "slide", "case_id": "group", "patient": "group", "patient_id": "group",
}  # fmt: skip
"""What CLAM (case_id, slide_id, label), STAMP (PATIENT, FILENAME) and others call these columns."""

MISSPELT = 0.8  # of letters in common, from which on a name is taken for another one that is misspelt


@dataclass(frozen=True)
class Header:
    """columns: by their names of COLUMNS, the places of the cells; the column path is slide. key: the name that the
    column of the slides has in the table. named: the places of all columns with a name. unused: the names of columns
    that are not known. width: how many columns there are.
    """

    columns: dict[str, int]
    key: str
    named: tuple[int, ...]
    unused: tuple[str, ...]
    width: int


def is_slide_column(name: str) -> bool:
    """Whether a column of this name holds the slides."""
    return _known(_lower(name)) in ("slide", "path")


def read_header(file: str, cells: Sequence[str], group_by: str | None) -> Header:
    """Return the columns of a table. `group_by`: the name of a column, which is then the group whatever its name.

    Names are compared in any case and without the blanks around them. Raises SlideError, a sentence with the name of
    the file, where columns are lacking, twice there, or as it seems misspelt.
    """
    if not cells:
        raise SlideError(f"{file}: no rows. Give a header with a column slide, and a row for each slide.")
    written = [_lower(cell) for cell in cells]
    columns = [_known(name) for name in written]
    grouping = None if group_by is None else _grouping(file, written, columns, _lower(group_by))
    if grouping is not None:
        columns = [None if name == "group" else name for name in columns]
    for i, name in enumerate(written):
        twice = [j for j in range(i) if name and (written[j] == name or (columns[i] and columns[j] == columns[i]))]
        if twice:
            names = "" if written[twice[0]] == name else f", as {written[twice[0]]} and {name}"
            raise SlideError(f"{file}: row 1 has the column {columns[i] or name} twice{names}. Remove one.")
    places = {name: i for i, name in enumerate(columns) if name is not None}
    key = _key(file, places, written)
    places["slide"] = places.pop(key)
    unused = [i for i, name in enumerate(written) if name and columns[i] is None and i != grouping]
    if grouping is not None:
        places["group"] = grouping
    for i in unused:
        _refuse_misspelt(file, written[i], places)
    named = tuple(i for i, name in enumerate(written) if name)
    return Header(places, key, named, tuple(plain(cells[i]) for i in unused), len(cells))


def _known(name: str) -> str | None:
    return name if name in COLUMNS else OTHER_NAMES.get(name)


def _lower(name: str) -> str:
    return plain(name).lower()


def _grouping(file: str, written: Sequence[str], columns: Sequence[str | None], wanted: str) -> int:
    for names in (written, columns):
        if wanted and wanted in names:
            return names.index(wanted)
    named = ", ".join(filter(None, written))
    raise SlideError(f"{file}: no column {wanted!r} to group by. Its columns are {named}.")


def _key(file: str, places: Mapping[str, int], written: Sequence[str]) -> str:
    keys = [column for column in ("slide", "path") if column in places]
    if len(keys) == 1:
        return keys[0]
    if keys:
        raise SlideError(
            f"{file}: row 1 has both a column slide and a column path. Name the files in one column slide."
        )
    if len(written) == 1 and re.search(r"[,;\t|]", written[0]):
        raise SlideError(
            f"{file}: row 1 is one cell, {written[0]!r}. Separate its cells with commas, semicolons or tabs, and do "
            "not quote a row as a whole."
        )
    named = ", ".join(filter(None, written))
    raise SlideError(f"{file}: row 1 has no column slide, only {named}. Name the files in one column slide.")


def _refuse_misspelt(file: str, name: str, places: Mapping[str, int]) -> None:
    """Raise SlideError for a name that is nearly that of a column which is not there: groups would go unnoticed."""
    for known in (*COLUMNS, *OTHER_NAMES):
        column = _known(known)
        alike = difflib.SequenceMatcher(None, known, name).ratio() >= MISSPELT and name[0] == known[0]
        if alike and column not in places and column != "path":
            raise SlideError(f"{file}: row 1 has an unknown column {name!r}. Did you mean {known!r}? Rename it.")
