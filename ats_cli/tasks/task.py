"""The protocol of a task: everything that differs between models of one class, of several labels and of a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Prediction

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Scale = tuple[float, float]  # mean and standard deviation of the labels, where they are numbers


class Task(Protocol):
    """What a model learns to answer from its C logits, one for each of its classes. Members hold no state."""

    @property
    def name(self) -> str: ...

    @property
    def single_label(self) -> bool:
        """Whether a slide has exactly one of the classes, and the prediction is the one of the largest probability.

        Folders of classes then give the labels, splits are stratified, and `ats evaluate` computes its figures.
        """
        ...

    @property
    def can_settle(self) -> bool:
        """Whether the predicted class is the one of the largest logit, so --adaptive may stop once it is settled."""
        ...

    @property
    def label_optional(self) -> bool:
        """Whether a slide may have no label."""
        ...

    @property
    def heading(self) -> str:
        """The heading of the answer's column in tables for people."""
        ...

    # Labels, as they stand in the column label of a manifest or as the name of a folder.

    def class_names(self, label: str) -> list[str]:
        """Return the names of classes in a label; none where the label is a number."""
        ...

    def label_problem(self, label: str) -> str | None:
        """Return what is wrong with a label, as the end of a sentence, or None."""
        ...

    def labels_problem(self, labels: Sequence[str]) -> str | None:
        """Return why nothing can be learned from these labels, as the end of "all slides ...", or None."""
        ...

    def classes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the classes of a model that is trained on these labels: one for each of its logits."""
        ...

    # Answers.

    def probabilities(self, logits: NDArray[np.floating]) -> Floats | None:
        """Return the probabilities of logits (..., C), both float64; None where the task has none."""
        ...

    def probability_gradient(self, terms: Floats, probabilities: Floats) -> Floats:
        """Return values (n, C) whose standard errors are those of the probabilities (C,), to first order.

        `terms`: (n, C), each tile's term z_i of the logits sum_i w_i z_i + bias. A tile's value is the derivative of
        the probabilities in the logits times its term (the delta method).
        """
        ...

    def to_interval_scale(self, logits: Floats) -> tuple[Floats, Floats]:
        """Return the answers (A,) of logits (C,) on the scale on which their intervals are symmetric, and its gradient.

        Log-odds of probabilities; a number itself. Gradient (C, A): the derivatives of the answers in the logits.
        """
        ...

    def from_interval_scale(self, answers: Floats) -> Floats:
        """Return probabilities of log-odds (A,), or the number itself."""
        ...

    def complement(self, probabilities: Floats) -> Floats:
        """Return 1 - p of probabilities (..., C), as precise as the others allow where p is near 1."""
        ...

    def predicted(self, logits: Floats, classes: Sequence[str]) -> str | None:
        """Return the predicted label of logits (C,), None where the task has no labels."""
        ...

    def value(self, logits: Floats) -> float | None:
        """Return the predicted number of logits (C,), and of their standard errors its own; None without a number."""
        ...

    # Tables.

    @property
    def answer_fields(self) -> tuple[str, ...]:
        """The fields of `Prediction` with the answer and its standard errors: columns of predictions.csv.

        The first is in every prediction that succeeded.
        """
        ...

    def shown(self, prediction: Prediction) -> tuple[float | None, float | None]:
        """Return the number that a table for people shows, and its standard error."""
        ...

    def tile_columns(self, classes: Sequence[str]) -> list[str]:
        """Return the columns of a tile's own answer in tiles.csv."""
        ...

    def tile_values(self, logits: Floats) -> Floats:
        """Return the tiles' own answers (n, columns) from their logits (n, C)."""
        ...

    # Training. Torch is imported inside these methods.

    def scale(self, labels: Sequence[str]) -> Scale:
        """Return mean and standard deviation of labels that are numbers, else (0, 1)."""
        ...

    def targets(self, labels: Sequence[str], classes: Sequence[str], scale: Scale) -> Tensor:
        """Return what the logits of a batch are compared with; its first dimension is B."""
        ...

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss (B,) of float32 logits (B, C)."""
        ...

    def accuracy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return how accurate each answer is, (B,), from 0 to 1."""
        ...

    def balanced(self, weights: Floats, labels: Sequence[str], classes: Sequence[str]) -> Floats:
        """Return slide weights (n,) by which all classes count alike.

        Raises AtsError, a sentence, if labels are no classes.
        """
        ...

    def baseline_loss(self, labels: Sequence[str], classes: Sequence[str], weights: Floats) -> float:
        """Return the loss of a model that knows how frequent the labels are and nothing of the slides."""
        ...
