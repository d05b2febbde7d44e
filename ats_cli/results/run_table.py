"""predictions.csv: one row a slide."""

from __future__ import annotations

from collections.abc import Iterable

from ats_cli.records import Prediction
from ats_cli.results.files import csv_bytes


def columns(classes: tuple[str, ...], task: str = "multi-class") -> list[str]:
    """Return the heading of predictions.csv."""
    values = [*(f"prob_{name}" for name in classes), *(f"se_{name}" for name in classes)]
    if task == "regression":
        values = ["value", "se_value"]
    return [
        "slide_id", "path", "status", "predicted", *values, "se_kind", "tiles", "positions", "attention_mass",
        "effective_positions", "tiles_unreadable", "bytes_read", "seconds", "mpp", "mpp_source", "precision",
        "unfamiliar", "unfamiliar_score", "error",
    ]  # fmt: skip


def predictions_csv(classes: tuple[str, ...], predictions: Iterable[Prediction], task: str = "multi-class") -> bytes:
    """Return the whole table. A value that does not apply is an empty cell."""
    return csv_bytes([columns(classes, task), *(row(p, len(classes), task) for p in predictions)])


def row(p: Prediction, classes: int, task: str = "multi-class") -> list[object]:
    """Return the cells of a prediction's row."""
    nothing = (None,) * classes
    values = [*(p.probabilities or nothing), *(p.se or nothing)]
    if task == "regression":
        values = [p.value, p.se_value]
    return [
        p.slide_id, p.path, p.status, p.predicted, *values, p.se_kind, p.tiles, p.positions, p.attention_mass,
        p.effective_positions, p.tiles_unreadable, p.bytes_read, (p.seconds or {}).get("total"), p.mpp, p.mpp_source,
        p.precision, p.unfamiliar, p.unfamiliar_score, p.error,
    ]  # fmt: skip
