"""Figures of a classifier from a table of labels and probabilities, each as a function of the slides' weights.

Every figure takes weights (B, n) and returns (B,), so there is one formula per figure: weights of 1 give the figure
itself, and the counts of resamples give the bootstrap.

Figures over several classes are macro averages (each class against the others, all with the same weight) over the
classes that occur. They are tested against scikit-learn and torchmetrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figure = Callable[["Table", Floats], Floats]

# Bins of confidence, of one width, for the calibration error and its plot.
BINS = 10


@dataclass(frozen=True)
class Table:
    """What was predicted of n slides. `labels`: (n,) index of the class. `probabilities`: (n, C), rows sum to 1."""

    labels: NDArray[np.int64]
    probabilities: Floats

    @property
    def predicted(self) -> NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(1))

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.labels)

    @property
    def classes(self) -> int:
        return int(self.probabilities.shape[1])

    @property
    def ones(self) -> Floats:
        """Every slide once."""
        return np.ones((1, len(self.labels)))


def accuracy(table: Table, weights: Floats) -> Floats:
    """Share of slides whose class is predicted correctly."""
    return _divide(weights @ table.correct, weights.sum(1))


def balanced_accuracy(table: Table, weights: Floats) -> Floats:
    """Mean over the classes of the share of their slides predicted correctly."""
    confusion = confusion_matrices(table, weights)
    return _macro(_divide(np.einsum("bcc->bc", confusion), confusion.sum(2)))


def f1(table: Table, weights: Floats) -> Floats:
    """Harmonic mean of precision and recall, macro."""
    return _macro(np.stack([f1_of(c)(table, weights) for c in range(table.classes)], 1))


def auroc(table: Table, weights: Floats) -> Floats:
    """Chance that a slide of a class gets more of it than a slide of another, ties counting half; macro."""
    return _macro(np.stack([auroc_of(c)(table, weights) for c in range(table.classes)], 1))


def auprc(table: Table, weights: Floats) -> Floats:
    """Average precision, the step-wise area under the precision-recall curve; macro."""
    return _macro(np.stack([auprc_of(c)(table, weights) for c in range(table.classes)], 1))


def calibration_error(table: Table, weights: Floats) -> Floats:
    """Expected calibration error: mean over BINS bins of confidence of |accuracy - confidence|, weighed by slides."""
    gap, inside = _gaps(table)
    return _divide(np.abs((weights * gap) @ inside).sum(1), weights.sum(1))


def calibration_noise(table: Table, weights: Floats) -> Floats:
    """The calibration error that resampling alone makes: of gaps about the table's own mean in each bin."""
    gap, inside = _gaps(table)
    mean = _divide(gap @ inside, inside.sum(0))
    about = gap - mean[inside.argmax(1)]
    return _divide(np.abs((weights * about) @ inside).sum(1), weights.sum(1))


def _gaps(table: Table) -> tuple[Floats, Floats]:
    """Return correct (1 or 0) minus confidence of each slide, (n,), and a 1 in the bin of each, (n, BINS)."""
    confidence = table.probabilities.max(1)
    return table.correct - confidence, np.eye(BINS)[confidence_bins(confidence)]


FIGURES: dict[str, Figure] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auroc": auroc,
    "auprc": auprc,
    "f1": f1,
    "calibration_error": calibration_error,
}


def f1_of(c: int) -> Figure:
    """F1 of class c; NaN where the class does not occur."""

    def figure(table: Table, weights: Floats) -> Floats:
        is_c, said_c = table.labels == c, table.predicted == c
        there = weights @ is_c
        return np.where(there > 0, _divide(2 * (weights @ (is_c & said_c)), there + weights @ said_c), np.nan)

    return figure


def auroc_of(c: int) -> Figure:
    """AUROC of class c against the others; NaN where one side is empty."""

    def figure(table: Table, weights: Floats) -> Floats:
        positive, negative = _by_score(table, weights, c)
        above = np.cumsum(positive, 1) - positive / 2
        return _divide((above * negative).sum(1), positive.sum(1) * negative.sum(1))

    return figure


def auprc_of(c: int) -> Figure:
    """Average precision of class c; NaN where one side is empty: with no other slide it is 1, whatever the model."""

    def figure(table: Table, weights: Floats) -> Floats:
        positive, negative = _by_score(table, weights, c)
        hits = np.cumsum(positive, 1)
        precision = np.nan_to_num(_divide(hits, hits + np.cumsum(negative, 1)))
        area = _divide((precision * positive).sum(1), positive.sum(1))
        return np.where(negative.sum(1) > 0, area, np.nan)

    return figure


def sensitivity_of(c: int) -> Figure:
    """Share of the slides of class c that are predicted rightly; NaN where it does not occur."""

    def figure(table: Table, weights: Floats) -> Floats:
        is_c = table.labels == c
        return _divide(weights @ (is_c & table.correct), weights @ is_c)

    return figure


def confusion_matrices(table: Table, weights: Floats) -> Floats:
    """(B, C, C): row, the label; column, what was predicted."""
    cells = table.labels * table.classes + table.predicted
    one_hot = np.eye(table.classes**2)[cells]
    return np.asarray((weights @ one_hot).reshape(len(weights), table.classes, table.classes))


def confidence_bins(confidence: Floats) -> NDArray[np.int64]:
    """The bin (n,) of each confidence, 0 to BINS - 1: a bin holds its upper end."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def curve(table: Table, c: int) -> tuple[Floats, Floats, Floats]:
    """False positive rate, true positive rate (recall) and precision of class c as the threshold falls, from (0, 0)."""
    positive, negative = _by_score(table, table.ones, c)
    hits, false = np.cumsum(positive[0]), np.cumsum(negative[0])
    start = np.zeros(1)
    recall = np.concatenate([start, hits / hits[-1]])
    precision = hits / (hits + false)
    return np.concatenate([start, _divide(false, false[-1:])]), recall, np.concatenate([precision[:1], precision])


def _by_score(table: Table, weights: Floats, c: int) -> tuple[Floats, Floats]:
    """Weight of class c and of the others at each score of c that occurs, from the highest: two of (B, scores)."""
    scores = table.probabilities[:, c]
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    is_c = (table.labels == c)[order]
    sorted_weights = weights[:, order]
    positive = np.add.reduceat(sorted_weights * is_c, starts, axis=1)
    return positive, np.add.reduceat(sorted_weights * ~is_c, starts, axis=1)


def _divide(above: Floats, below: Floats) -> Floats:
    """NaN where there is nothing to divide by."""
    below = np.asarray(below, np.float64)
    nothing = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))


def _macro(by_class: Floats) -> Floats:
    """Mean (B,) over the classes (B, C) that are not NaN."""
    there = np.isfinite(by_class)
    return _divide(np.where(there, by_class, 0).sum(1), there.sum(1))
