"""A table of slides: CSV with a column slide (or path), and perhaps mpp, label, split, group, weight, roi."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ats_cli.errors import SlideError
from ats_cli.slides.formats.lookup import extensions
from ats_cli.slides.inputs.csv_rows import csv_rows
from ats_cli.slides.inputs.splits import split_of
from ats_cli.slides.remote.path import AnyPath, RemotePath, slide_path
from ats_cli.text import existing_path

COLUMNS = ("slide", "path", "mpp", "label", "split", "group", "weight", "roi")

OTHER_NAMES = {"slide_id": "slide", "filename": "slide", "case_id": "group", "patient": "group"}
"""What CLAM (case_id, slide_id, label) and STAMP (PATIENT, FILENAME) call these columns."""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row. What its column leaves empty, or what has no column, is None. `split`: as of `split_of`. `row`: its
    number in the file.
    """

    path: AnyPath
    mpp: float | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None
    weight: float | None = None
    row: int = field(default=0, compare=False)
    roi: Path | None = None


def read_manifest(path: str | Path, slides_root: Path | None = None, group_by: str | None = None) -> list[ManifestRow]:
    """All rows of a manifest, see `manifest_rows`."""
    return list(manifest_rows(path, slides_root, group_by))


def manifest_splits(path: str | Path, group_by: str | None = None) -> dict[str, int]:
    """The splits that a manifest has, as of `split_of`, each with the number of the first row that has it."""
    file = Path(path)
    lines = csv_rows(file)
    header = _header(file, next(lines, (0, []))[1], group_by).names
    found: dict[str, int] = {}
    if "split" in header:
        column = header.index("split")
        for number, cells in lines:
            found.setdefault(split_of(cells[column] if column < len(cells) else None), number)
    return {split: number for split, number in found.items() if split}


def manifest_rows(
    path: str | Path, slides_root: Path | None = None, group_by: str | None = None
) -> Iterator[ManifestRow]:
    """The rows of a manifest, paths or URLs, one after the other; relative paths lie in `slides_root`, without it in
    the manifest's own folder.

    The columns may have the names that CLAM and STAMP give them. A slide may be named without its extension, where
    one file only is called so. A row's `roi`, a GeoJSON file, lies beside the manifest. `group_by`: any column, which
    is then the rows' group, in the place of the column group, and filled in each row.

    Raises SlideError, one sentence with the manifest's name and the row (the header is row 1).
    """
    file = Path(path)
    lines = csv_rows(file)
    header, key, grouping = _header(file, next(lines, (0, []))[1], group_by)
    root = slides_root or file.parent
    seen: dict[int, int] = {}
    real_folder = lru_cache(4096)(os.path.realpath)
    for number, cells in lines:
        if len(cells) > len(header):
            raise SlideError(
                f"{file.name}: row {number} has {len(cells)} cells under {len(header)} columns. "
                "Quote cells that hold a comma."
            )
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        if grouping is not None:
            row["group"] = cells[grouping].strip() if grouping < len(cells) else ""
            if not row["group"]:
                raise SlideError(
                    f"{file.name}: row {number} has no {group_by}. Fill it in, or leave out --group-by {group_by}."
                )
        if not row.get(key):
            raise SlideError(f"{file.name}: row {number} names no slide. Fill in the column {key}.")
        slide = _slide(file.name, number, row[key], root)
        # Hashes take a tenth of the memory of paths; two of a million have the same in one of 10^7 tables.
        file_ = slide.url if isinstance(slide, RemotePath) else _real_file(slide, real_folder)
        first = seen.setdefault(hash(file_), number)
        if first != number:
            raise SlideError(f"{file.name}: row {number} names {row[key]} again, as row {first} does. Remove one.")
        mpp = _number(file.name, number, "mpp", row.get("mpp"), "0.25")
        weight = _number(file.name, number, "weight", row.get("weight"), "2")
        roi = file.parent / row["roi"] if row.get("roi") else None
        label, group = (row.get(name) or None for name in ("label", "group"))
        split = split_of(row.get("split")) or None
        yield ManifestRow(slide, mpp, label, split, group, weight, number, roi)
    if not seen:
        raise SlideError(f"{file.name}: {_NO_ROWS}")


_NO_ROWS = "no rows. Give a header with a column slide, and a row for each slide."


class _Header(NamedTuple):
    """The columns by their names here, that which names the slides, and the number of that which groups them."""

    names: list[str]
    key: str
    grouping: int | None


def _header(file: Path, cells: list[str], group_by: str | None) -> _Header:
    if not cells:
        raise SlideError(f"{file.name}: {_NO_ROWS}")
    written = [name.strip().lower() for name in cells]
    names = [OTHER_NAMES.get(name, name) for name in written]
    grouping = None if group_by is None else _grouping(file.name, written, names, group_by)
    if grouping is not None and names[grouping] == "group":
        names[grouping] = ""
    key = _check_header(file.name, [name for i, name in enumerate(names) if i != grouping or name in COLUMNS])
    return _Header(names, key, grouping)


def _slide(name: str, number: int, text: str, root: Path) -> AnyPath:
    try:
        path = slide_path(text, root)
    except (SlideError, ValueError) as error:
        raise SlideError(f"{name}: row {number} names no slide: {error}") from error
    try:
        return path if isinstance(path, RemotePath) else existing_path(str(_with_extension(path)))
    except OSError:  # a name that is too long, a folder without access: it fails when its turn comes
        return path


def _real_file(path: Path, real_folder: Callable[[Path], str]) -> str:
    """The file that a path leads to, with one question to the disk for most."""
    if os.path.islink(path):  # noqa: PTH114 (False where a name is too long)
        return os.path.realpath(path)
    return f"{real_folder(path.parent)}/{path.name}"


def _grouping(name: str, written: list[str], header: list[str], group_by: str) -> int:
    """Which column is to group by, whatever it is called. Raises SlideError where there is none."""
    wanted = group_by.strip().lower()
    for names in (written, header):
        if wanted in names:
            return names.index(wanted)
    raise SlideError(f"{name}: no column {group_by!r} to group by. Its columns are {', '.join(written)}.")


def _check_header(name: str, header: list[str]) -> str:
    """The column that names the slides. Raises SlideError for a header that is not understood."""
    for column in header:
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, (*COLUMNS, *OTHER_NAMES), 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(COLUMNS)}."
            raise SlideError(f"{name}: row 1 has an unknown column {column!r}. {hint}")
        if header.count(column) > 1:
            raise SlideError(f"{name}: row 1 has the column {column} twice. Remove one.")
    keys = [column for column in ("slide", "path") if column in header]
    if len(keys) != 1:
        fault = "no column slide" if not keys else "both a column slide and a column path"
        raise SlideError(f"{name}: row 1 has {fault}. Name the files in one column slide.")
    return keys[0]


def _with_extension(path: Path) -> Path:
    """CLAM's slide_id is a file's name without its extension."""
    if path.suffix.lower() in extensions() or path.exists() or not path.parent.is_dir():
        return path
    found = [p for extension in extensions() if (p := path.with_name(path.name + extension)).exists()]
    return found[0] if len(found) == 1 else path


def _number(name: str, number: int, column: str, text: str | None, example: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise SlideError(f"{name}: row {number} has {column} {text!r}, not a number above 0. Write it like {example}.")
    return value
