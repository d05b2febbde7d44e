"""A number per slide, learned in units of the training labels' standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import AtsError
from ats_cli.number import parse_number
from ats_cli.records import Prediction
from ats_cli.tasks.task import Floats, Scale

if TYPE_CHECKING:
    from torch import Tensor

MAX_NUMBER = 1e30  # of a label: squared deviations must be finite too


class Regression:
    """The first logit is the number, trained with the squared error."""

    name, heading, answer_fields = "regression", "value", ("value", "se_value", "low_value", "high_value")
    single_label, can_settle, label_optional = False, False, False

    def class_names(self, label: str) -> list[str]:
        return []

    def label_problem(self, label: str) -> str | None:
        try:
            valid = abs(parse_number(label)) <= MAX_NUMBER
        except ValueError as error:
            return f"{error}, where regression needs a number"
        return None if valid else f"is too large for regression (up to {MAX_NUMBER:g})"

    def labels_problem(self, labels: Sequence[str]) -> str | None:
        numbers = {parse_number(label) for label in labels}  # "5" and "5.0" are one number
        return None if len(numbers) > 1 else f"have the same number, {', '.join(f'{number:g}' for number in numbers)}"

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        return ("value",)

    def probabilities(self, logits: NDArray[np.floating]) -> Floats | None:
        return None

    def probability_gradient(self, terms: Floats, probabilities: Floats) -> Floats:
        raise ValueError("a number has no probabilities")

    def to_interval_scale(self, logits: Floats) -> tuple[Floats, Floats]:
        return np.asarray(logits, np.float64), np.eye(len(logits))

    def from_interval_scale(self, answers: Floats) -> Floats:
        return answers

    def complement(self, probabilities: Floats) -> Floats:
        raise ValueError("a number has no probabilities")

    def predicted(self, logits: Floats, classes: Sequence[str]) -> str | None:
        return None

    def value(self, logits: Floats) -> float | None:
        return float(logits[0])

    def shown(self, prediction: Prediction) -> tuple[float | None, float | None]:
        return prediction.value, prediction.se_value

    def tile_columns(self, classes: Sequence[str]) -> list[str]:
        return ["value"]

    def tile_values(self, logits: Floats) -> Floats:
        return logits

    def scale(self, labels: Sequence[str]) -> Scale:
        numbers = np.array([parse_number(label) for label in labels])
        return float(numbers.mean()), float(numbers.std()) or 1.0

    def targets(self, labels: Sequence[str], classes: Sequence[str], scale: Scale) -> Tensor:
        import torch

        return torch.tensor([[(parse_number(label) - scale[0]) / scale[1]] for label in labels], dtype=torch.float32)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits - targets).square().mean(1)

    def accuracy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """1 within half a standard deviation of the label, else 0."""
        return ((logits - targets).abs() < 0.5).float().mean(1)

    def balanced(self, weights: Floats, labels: Sequence[str], classes: Sequence[str]) -> Floats:
        raise AtsError(
            "--balance lets all classes count alike, and the labels of a regression are numbers. Leave it out, or give "
            "the slides weights in the manifest's column weight."
        )

    def baseline_loss(self, labels: Sequence[str], classes: Sequence[str], weights: Floats) -> float:
        targets = self.targets(labels, classes, self.scale(labels)).double().numpy()
        return float(np.average(targets[:, 0] ** 2, weights=weights))


TASK = Regression()
