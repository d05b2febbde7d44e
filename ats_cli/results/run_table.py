"""predictions.csv: one row a slide."""

from __future__ import annotations

from collections.abc import Iterable

from ats_cli.records import Prediction
from ats_cli.results.files import csv_bytes


def columns(classes: tuple[str, ...]) -> list[str]:
    """Return the heading of predictions.csv."""
    return [
        "slide_id", "path", "status", "predicted", *(f"prob_{name}" for name in classes),
        *(f"se_{name}" for name in classes), "se_kind", "tiles", "positions", "attention_mass", "effective_positions",
        "tiles_unreadable", "bytes_read", "seconds", "mpp", "mpp_source", "precision",
        "unfamiliar", "unfamiliar_score", "error",
    ]  # fmt: skip


def predictions_csv(classes: tuple[str, ...], predictions: Iterable[Prediction]) -> bytes:
    """Return the whole table. A value that does not apply is an empty cell."""
    return csv_bytes([columns(classes), *(row(p, len(classes)) for p in predictions)])


def row(p: Prediction, classes: int) -> list[object]:
    """Return the cells of a prediction's row."""
    nothing = (None,) * classes
    return [
        p.slide_id, p.path, p.status, p.predicted, *(p.probabilities or nothing),
        *(p.se or nothing), p.se_kind, p.tiles, p.positions, p.attention_mass, p.effective_positions,
        p.tiles_unreadable, p.bytes_read, (p.seconds or {}).get("total"), p.mpp, p.mpp_source, p.precision,
        p.unfamiliar, p.unfamiliar_score, p.error,
    ]  # fmt: skip
