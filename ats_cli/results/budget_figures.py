"""The figures of an evaluation at one budget: accuracy and others with their intervals, and what the budget costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ats_cli.records import Prediction
from ats_cli.results.evaluation import metrics as m
from ats_cli.results.evaluation.bootstrap import IntervalEstimate, with_intervals

BY_CLASS = {"auroc": m.auroc_of, "auprc": m.auprc_of, "f1": m.f1_of, "sensitivity": m.sensitivity_of}


@dataclass(frozen=True)
class Truth:
    """A slide's label, and the group that it belongs to."""

    label: str
    group: str


@dataclass(frozen=True)
class BudgetFigures:
    """All figures at one budget. `cost`: means over slides of tiles, bytes, seconds; None if one is unknown.

    `by_group`: the same with one prediction per group, if groups are evaluated too.
    """

    tiles: int | None
    table: m.Table
    figures: dict[str, IntervalEstimate]
    by_class: dict[str, dict[str, IntervalEstimate]]
    cost: dict[str, float | None]
    by_group: BudgetFigures | None = None

    @property
    def confusion(self) -> list[list[int]]:
        return [[int(n) for n in line] for line in m.confusion_matrices(self.table, self.table.ones)[0]]


def budget_figures(
    tiles: int | None, predictions: Sequence[Prediction], truth: Mapping[str, Truth], classes: Sequence[str], seed: int
) -> BudgetFigures:
    """Return the figures of `predictions` (at least one, none of them failed) at one budget."""
    labels = np.array([classes.index(truth[p.slide_id].label) for p in predictions])
    probabilities = np.array([p.probabilities for p in predictions], np.float64)
    table = m.Table(labels, probabilities)
    groups = [truth[p.slide_id].group for p in predictions]
    wanted = {**m.FIGURES}
    wanted |= {f"{f}/{c}": make(i) for i, c in enumerate(classes) for f, make in BY_CLASS.items()}
    found = with_intervals(table, groups, wanted, seed)
    return BudgetFigures(
        tiles,
        table,
        {name: found[name] for name in m.FIGURES},
        {c: {f: found[f"{f}/{c}"] for f in BY_CLASS} for c in classes},
        {
            "tiles": _mean([p.sampling.tiles for p in predictions]),
            "bytes": _mean([p.cost.bytes_read for p in predictions]),
            "seconds": _mean([(p.cost.seconds or {}).get("total") for p in predictions]),
        },
    )


def calibration(table: m.Table) -> list[dict[str, float]]:
    """Return, for each bin of confidence with slides: their mean confidence, their accuracy, their number."""
    confidence = table.probabilities.max(1)
    bins = m.confidence_bins(confidence)
    return [
        {
            "confidence": float(confidence[bins == b].mean()),
            "accuracy": float(table.correct[bins == b].mean()),
            "slides": int(np.count_nonzero(bins == b)),
        }
        for b in np.unique(bins)
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
