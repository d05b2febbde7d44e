"""The answer of a slide in one line, for pictures and reports."""

from __future__ import annotations

from ats_cli.records import Prediction
from ats_cli.registry import TASKS


def answer_line(prediction: Prediction) -> str:
    """Return the answer, its probability or value, and its standard error, like "tumor 0.91 ± 0.02"."""
    value, error = TASKS[prediction.task].shown(prediction)
    parts = [] if prediction.predicted is None else [prediction.predicted or "no label"]
    if value is not None:
        parts.append(f"{value:.3g}" if error is None else f"{value:.2f} ± {error:.2f}")
    return " ".join(parts)


def tiles_line(prediction: Prediction) -> str:
    """Return how many tiles were read of how many positions."""
    draw = prediction.sampling
    return f"{draw.tiles:,} of {draw.positions:,} positions read" if draw.tiles and draw.positions else ""
