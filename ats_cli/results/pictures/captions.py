"""The answer of a slide in one line, for pictures and reports."""

from __future__ import annotations

from ats_cli.records import Prediction
from ats_cli.registry import TASKS


def answer_line(prediction: Prediction) -> str:
    """Return the answer, its probability or value, and its standard error, like "tumor 0.91 ± 0.02".

    Of several labels, those that are predicted, each with its own.
    """
    probabilities, errors = prediction.probabilities, prediction.se or ()
    if probabilities is not None and not TASKS[prediction.task].single_label:
        rows = zip(prediction.classes, probabilities, errors, strict=True)
        return "; ".join(f"{name} {p:.2f} ± {error:.2f}" for name, p, error in rows if p > 0.5) or "no label"
    value, error = TASKS[prediction.task].shown(prediction)
    parts = [] if prediction.predicted is None else [prediction.predicted]
    if value is not None:
        parts.append(f"{value:.3g}" if error is None else f"{value:.2f} ± {error:.2f}")
    return " ".join(parts)


def tiles_line(prediction: Prediction) -> str:
    """Return how many tiles were read of how many positions."""
    draw = prediction.sampling
    return f"{draw.tiles:,} of {draw.positions:,} positions read" if draw.tiles and draw.positions else ""
