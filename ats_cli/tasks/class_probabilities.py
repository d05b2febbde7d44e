"""What tasks have in common whose answer is a probability for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Prediction
from ats_cli.tasks.task import Floats, Scale

TINY = 1e-300


class ClassProbabilities:
    """The base of such tasks: columns prob_<class>, se_<class>, low_<class> and high_<class>, and no number."""

    heading, answer_fields = "probability", ("probabilities", "se", "low", "high")

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        raise NotImplementedError

    def probability_gradient(self, terms: Floats, probabilities: Floats) -> Floats:
        raise NotImplementedError

    def complement(self, probabilities: Floats) -> Floats:
        raise NotImplementedError

    def to_interval_scale(self, logits: Floats) -> tuple[Floats, Floats]:
        p = np.clip(self.probabilities(logits), TINY, 1)
        others = np.clip(self.complement(p), TINY, 1)
        return np.log(p) - np.log(others), self.probability_gradient(np.eye(len(logits)), p) / (p * others)

    def from_interval_scale(self, answers: Floats) -> Floats:
        return np.asarray(0.5 + 0.5 * np.tanh(answers / 2))

    def label_problem(self, label: str) -> str | None:
        return None

    def value(self, logits: Floats) -> float | None:
        return None

    def tile_columns(self, classes: Sequence[str]) -> list[str]:
        return [f"prob_{name}" for name in classes]

    def tile_values(self, logits: Floats) -> Floats:
        return self.probabilities(logits)

    def scale(self, labels: Sequence[str]) -> Scale:
        return 0.0, 1.0


def probability_and_error(prediction: Prediction, index: int) -> tuple[float | None, float | None]:
    """Return the probability of a class and its standard error, None where there is none."""
    p, se = prediction.probabilities, prediction.se
    return None if p is None else p[index], None if p is None or se is None else se[index]


def entropy(shares: Floats) -> Floats:
    """Return the entropy over the first axis of shares that sum to 1, in nats."""
    return np.asarray(-(shares * np.log(np.clip(shares, 1e-12, 1))).sum(0))
