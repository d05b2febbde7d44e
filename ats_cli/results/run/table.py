"""predictions.csv: one row a slide."""

from __future__ import annotations

from collections.abc import Iterable

from ats_cli.records import DEFAULT_TASK, Prediction
from ats_cli.results.columns import cells, csv_columns, headings
from ats_cli.results.files import csv_bytes


def columns(classes: tuple[str, ...], task: str = DEFAULT_TASK) -> list[str]:
    """Return the heading of predictions.csv."""
    return [heading for column in csv_columns(task) for heading in headings(column, classes)]


def predictions_csv(classes: tuple[str, ...], predictions: Iterable[Prediction], task: str = DEFAULT_TASK) -> bytes:
    """Return the whole table. A value that does not apply is an empty cell."""
    return csv_bytes([columns(classes, task), *(row(p, len(classes), task) for p in predictions)])


def row(p: Prediction, classes: int, task: str = DEFAULT_TASK) -> list[object]:
    """Return the cells of a prediction's row."""
    return [cell for column in csv_columns(task) for cell in cells(column, p, classes)]
