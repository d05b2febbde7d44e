"""Any number of labels per slide, each with a probability of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Prediction
from ats_cli.tasks.class_probabilities import ClassProbabilities, entropy, probability_and_error
from ats_cli.tasks.task import Floats, Scale

if TYPE_CHECKING:
    from torch import Tensor


class MultiLabel(ClassProbabilities):
    """Probabilities by sigmoid, trained with the mean binary cross entropy. A label is written "a;b"."""

    name = "multi-label"
    single_label, can_settle, label_optional = False, False, True

    def class_names(self, label: str) -> list[str]:
        return [name for part in label.split(";") if (name := part.strip())]

    def labels_problem(self, labels: Sequence[str]) -> str | None:
        return None if self.classes(labels) else "are of no class"

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted({name for label in labels for name in self.class_names(label)}))

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        return np.asarray(0.5 + 0.5 * np.tanh(np.asarray(logits, np.float64) / 2))

    def probability_gradient(self, terms: Floats, probabilities: Floats) -> Floats:
        return np.asarray(probabilities * (1 - probabilities) * terms)

    def to_interval_scale(self, logits: Floats) -> tuple[Floats, Floats]:
        return np.asarray(logits, np.float64), np.eye(len(logits))

    def complement(self, probabilities: Floats) -> Floats:
        return np.asarray(1 - probabilities)

    def predicted(self, logits: Floats, classes: Sequence[str]) -> str | None:
        return ";".join(name for name, logit in zip(classes, logits, strict=True) if logit > 0)

    def shown(self, prediction: Prediction) -> tuple[float | None, float | None]:
        """The least certain of the predicted labels; without one, the most probable label."""
        if prediction.probabilities is None:
            return None, None
        order = sorted(range(len(prediction.probabilities)), key=prediction.probabilities.__getitem__)
        predicted = [index for index in order if prediction.probabilities[index] > 0.5]
        return probability_and_error(prediction, predicted[0] if predicted else order[-1])

    def targets(self, labels: Sequence[str], classes: Sequence[str], scale: Scale) -> Tensor:
        import torch

        return torch.tensor(self._indicators(labels, classes), dtype=torch.float32)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)

    def accuracy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The share of the labels that are correct."""
        return ((logits > 0) == (targets > 0.5)).float().mean(1)

    def balanced(self, weights: Floats, labels: Sequence[str], classes: Sequence[str]) -> Floats:
        """Each label, and having none, gives its slides the same total, which a slide adds up over its labels."""
        found = np.array(self._indicators(labels, classes))
        found = np.column_stack([found, ~found.any(1)])
        totals = weights @ found
        return np.asarray(weights * (found @ np.divide(1, totals, out=np.zeros_like(totals), where=totals > 0)))

    def baseline_loss(self, labels: Sequence[str], classes: Sequence[str], weights: Floats) -> float:
        shares = np.average(np.array(self._indicators(labels, classes)), axis=0, weights=weights)
        return float(entropy(np.stack([shares, 1 - shares])).mean())

    def _indicators(self, labels: Sequence[str], classes: Sequence[str]) -> list[list[float]]:
        """Return 1 where a slide has a class, else 0."""
        return [[float(name in self.class_names(label)) for name in classes] for label in labels]


TASK = MultiLabel()
