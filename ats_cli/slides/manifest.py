"""A table of slides: CSV with a column slide (or path), and perhaps mpp, label, split, group."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ats_cli.records import SlideError
from ats_cli.slides.remote_path import AnyPath, RemotePath, slide_path

COLUMNS = ("slide", "path", "mpp", "label", "split", "group")


@dataclass(frozen=True)
class ManifestRow:
    """One row. What its column leaves empty, or what has no column, is None."""

    path: AnyPath
    mpp: float | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None


def read_manifest(path: str | Path) -> list[ManifestRow]:
    """The rows of a manifest, paths or URLs; relative paths are taken from the manifest's own folder.

    Raises SlideError, one sentence with the manifest's name and the row (the header is row 1).
    """
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = [(reader_row, cells) for reader_row, cells in enumerate(csv.reader(stream), start=1) if any(cells)]
    except FileNotFoundError:
        raise SlideError(f"{file.name}: no such file in {file.parent.absolute()}. Check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SlideError(f"{file.name}: could not be read as CSV ({error}). Save it as CSV in UTF-8.") from error
    if len(lines) < 2:
        raise SlideError(f"{file.name}: no rows. Give a header with a column slide, and a row for each slide.")
    header = [name.strip().lower() for name in lines[0][1]]
    key = _check_header(file.name, header)
    rows: list[ManifestRow] = []
    seen: dict[AnyPath, int] = {}
    for number, cells in lines[1:]:
        if len(cells) > len(header):
            raise SlideError(
                f"{file.name}: row {number} has {len(cells)} cells under {len(header)} columns. "
                "Quote cells that hold a comma."
            )
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        if not row.get(key):
            raise SlideError(f"{file.name}: row {number} names no slide. Fill in the column {key}.")
        slide = slide_path(row[key], file.parent)
        first = seen.setdefault(slide if isinstance(slide, RemotePath) else slide.resolve(), number)
        if first != number:
            raise SlideError(f"{file.name}: row {number} names {row[key]} again, as row {first} does. Remove one.")
        mpp = _mpp(file.name, number, row.get("mpp"))
        rows.append(
            ManifestRow(slide, mpp, row.get("label") or None, row.get("split") or None, row.get("group") or None)
        )
    return rows


def _check_header(name: str, header: list[str]) -> str:
    """The column that names the slides. Raises SlideError for a header that is not understood."""
    for column in header:
        if column not in COLUMNS:
            raise SlideError(f"{name}: row 1 has an unknown column {column!r}. Known are {', '.join(COLUMNS)}.")
        if header.count(column) > 1:
            raise SlideError(f"{name}: row 1 has the column {column} twice. Remove one.")
    keys = [column for column in ("slide", "path") if column in header]
    if len(keys) != 1:
        fault = "no column slide" if not keys else "both a column slide and a column path"
        raise SlideError(f"{name}: row 1 has {fault}. Name the files in one column slide.")
    return keys[0]


def _mpp(name: str, number: int, text: str | None) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise SlideError(f"{name}: row {number} has mpp {text!r}, not a number above 0. Write it like 0.25.")
    return value
