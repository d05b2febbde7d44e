"""One class per slide."""

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


class MultiClass(ClassProbabilities):
    """Probabilities by softmax, trained with the cross entropy. The base of other tasks of one class per slide."""

    name = "multi-class"
    single_label, can_settle, label_optional = True, True, False

    def class_names(self, label: str) -> list[str]:
        return [label]

    def labels_problem(self, labels: Sequence[str]) -> str | None:
        names = self.classes(labels)
        if len(names) > 1:
            return None
        return f"are of one class ({names[0]})" if names else "are of no class"

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(sorted(set(labels)))

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        return softmax(logits)

    def probability_gradient(self, terms: Floats, probabilities: Floats) -> Floats:
        # A change of the logits by z changes p_c by p_c (z_c - sum_k p_k z_k).
        return np.asarray(probabilities * (terms - (terms @ probabilities)[:, None]))

    def to_interval_scale(self, logits: Floats) -> tuple[Floats, Floats]:
        if type(self).probabilities is not MultiClass.probabilities:  # those of a task that this is the base of
            return super().to_interval_scale(logits)
        if len(logits) == 1:  # its probability is 1
            return np.full(1, np.inf), np.zeros((1, 1))
        # The log-odds of class c are z_c - log sum_k exp z_k over the others, whose derivatives are their softmax.
        others = np.where(np.eye(len(logits), dtype=bool), -np.inf, logits[None])
        largest = others.max(1)
        shares = softmax(others)
        log_odds = logits - largest - np.log(np.exp(others - largest[:, None]).sum(1))
        return np.asarray(log_odds), np.asarray(np.eye(len(logits)) - shares.T)

    def complement(self, probabilities: Floats) -> Floats:
        return np.asarray(probabilities @ (1 - np.eye(probabilities.shape[-1])))

    def predicted(self, logits: Floats, classes: Sequence[str]) -> str | None:
        return classes[int(np.argmax(logits))]

    def shown(self, prediction: Prediction) -> tuple[float | None, float | None]:
        if prediction.predicted not in prediction.classes:
            return None, None
        return probability_and_error(prediction, prediction.classes.index(prediction.predicted))

    def targets(self, labels: Sequence[str], classes: Sequence[str], scale: Scale) -> Tensor:
        import torch

        return torch.tensor([classes.index(label) for label in labels])

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.cross_entropy(logits, targets, reduction="none")

    def accuracy(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits.argmax(1) == targets).float()

    def balanced(self, weights: Floats, labels: Sequence[str], classes: Sequence[str]) -> Floats:
        numbers = np.array([classes.index(label) for label in labels])
        return np.asarray(weights / np.bincount(numbers, weights, len(classes))[numbers])

    def baseline_loss(self, labels: Sequence[str], classes: Sequence[str], weights: Floats) -> float:
        numbers = np.array([classes.index(label) for label in labels])
        return float(entropy(np.bincount(numbers, weights, len(classes)) / weights.sum()))


TASK = MultiClass()


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Return probabilities over the last axis, in float64."""
    exponentials = np.exp(np.asarray(logits, np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))
