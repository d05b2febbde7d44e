"""From the tiles that were read to logits, probabilities and their standard errors, and to the answer. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Prediction
from ats_cli.registry import TASKS
from ats_cli.sampling import Draw, ratio_standard_error, ratio_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """`probabilities` and their errors `se` are None for a task without probabilities."""

    weights: Floats
    logits: Floats
    probabilities: Floats | None
    logits_se: Floats | None
    se: Floats | None
    kind: Literal["unbiased", "approximate", "nominal"] | None


def estimate_from(
    drawn: Draw, terms: Floats, readable: NDArray[np.bool_], bias: Floats, stopped: bool, task: str
) -> Estimate:
    """Return logits and probabilities (C,) with their standard errors, from the terms (n, C) of the readable tiles.

    The error of a probability is that of its own gradient, not combined from the errors of the logits. After a stop
    that depends on the data, the errors are those of a fixed number of tiles, and their kind is nominal.
    """
    weights = ratio_weights(drawn.weights, readable)
    logits = weights @ terms + bias
    of_logits = ratio_standard_error(drawn, terms, readable)
    probabilities, se = TASKS[task].probabilities(logits), None
    if probabilities is not None:
        gradient = TASKS[task].probability_gradient(terms, probabilities)
        se = ratio_standard_error(drawn, gradient, readable).se
    kind = "nominal" if stopped and of_logits.kind and not drawn.exact else of_logits.kind
    return Estimate(weights, logits, probabilities, of_logits.se, se, kind)


def with_answer(prediction: Prediction, estimate: Estimate) -> Prediction:
    """Return the prediction, of its task and classes, with the answer of an estimate."""
    task = TASKS[prediction.task]
    return replace(
        prediction,
        predicted=task.predicted(estimate.logits, prediction.classes),
        probabilities=_tuple(estimate.probabilities),
        se=_tuple(estimate.se),
        logits=_tuple(estimate.logits),
        logits_se=_tuple(estimate.logits_se),
        se_kind=estimate.kind,
        value=task.value(estimate.logits),
        se_value=None if estimate.logits_se is None else task.value(estimate.logits_se),
    )


def attention_mass(drawn: Draw, readable: NDArray[np.bool_]) -> float:
    """Return the share of the attention on the tiles that were read."""
    return float(min(1.0, drawn.attention[readable].sum()))


def _tuple(values: Floats | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values.tolist())
