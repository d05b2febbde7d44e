"""Which slides a command works on: those named in the call, or the rows of a manifest."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ats_cli.records import AtsError

if TYPE_CHECKING:
    from ats_cli.slides import SlideSource


def gather(slides: list[str] | None, manifest: Path | None, mpp: float | None) -> list[SlideSource]:
    """Return the slides of a call, each with its id and the mpp given for it. AtsError when there are none."""
    from ats_cli.slides import find_slides

    if slides and manifest:
        raise AtsError("slides were given both in the call and with --manifest. Give one or the other.")
    if manifest is not None:
        rows = read_manifest(manifest)
        sources = find_slides([str(path) for path in rows], mpp)
        return [replace(s, mpp=rows.get(Path(s.path)) or s.mpp) for s in sources]
    if not slides:
        raise AtsError("no slides were given. Name files, folders or globs, or give --manifest table.csv.")
    return find_slides(slides, mpp)


def read_manifest(manifest: Path) -> dict[Path, float | None]:
    """Return the slides of a CSV with a column `slide` or `path` and perhaps `mpp`: path -> mpp or None.

    Paths are relative to the CSV's folder. AtsError, with the line, where a row makes no sense.
    """
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            columns = [name.strip() for name in table.fieldnames or []]
            table.fieldnames = columns
            lines = [(table.line_num, row) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise AtsError(f"{manifest}: the manifest cannot be read ({reason}).") from error
    column = next((name for name in ("slide", "path") if name in columns), None)
    if column is None:
        raise AtsError(f"{manifest}: no column 'slide' or 'path'. The columns are: {', '.join(columns) or 'none'}.")
    slides: dict[Path, float | None] = {}
    for line, row in lines:
        name = (row[column] or "").strip()
        if not name:
            raise AtsError(f"{manifest}, line {line}: no slide is named.")
        path = manifest.parent / name
        if path in slides:
            raise AtsError(f"{manifest}, line {line}: {name} is listed twice.")
        slides[path] = _mpp((row.get("mpp") or "").strip(), f"{manifest}, line {line}")
    if not slides:
        raise AtsError(f"{manifest}: the manifest lists no slides.")
    return slides


def _mpp(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise AtsError(f"{where}: mpp is {text!r}, and should be a number above 0 (microns per pixel).")
    return value
