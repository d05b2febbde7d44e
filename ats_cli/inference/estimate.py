"""From the tiles that were read to the answer: logits, probabilities, standard errors and intervals. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Prediction, TilesRead
from ats_cli.registry import TASKS
from ats_cli.sampling import Draw, half_width, ratio_standard_error, ratio_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """`probabilities` and their errors `se` are None for a task without probabilities.

    `low`, `high`: 95 % intervals of the probabilities, or of the number; None where there is no standard error.
    """

    weights: Floats
    logits: Floats
    probabilities: Floats | None
    logits_se: Floats | None
    se: Floats | None
    low: Floats | None
    high: Floats | None
    kind: Literal["unbiased", "approximate", "nominal"] | None


def estimate_from(drawn: Draw, tiles: TilesRead, stopped: bool, task: str) -> Estimate:
    """Return logits and probabilities (C,) with their standard errors and intervals, from the tiles of a draw.

    tiles: their terms and gates, the bias and the range of terms are used; the weights are those of `drawn`.

    The error of a probability is that of its own gradient, not combined from the errors of the logits. After a stop
    that depends on the data, the errors are those of a fixed number of tiles, and their kind is nominal.
    """
    gates, terms = tiles.gates, tiles.terms
    weights = ratio_weights(drawn.weights, gates)
    logits = weights @ terms + tiles.bias
    of_logits = ratio_standard_error(drawn, terms, gates)
    probabilities, se = TASKS[task].probabilities(logits), None
    if probabilities is not None:
        gradient = TASKS[task].probability_gradient(terms, probabilities)
        se = ratio_standard_error(drawn, gradient, gates).se
    kind = "nominal" if stopped and of_logits.kind and not drawn.exact else of_logits.kind
    low, high = _interval(drawn, tiles, weights, logits, task) or (None, None)
    return Estimate(weights, logits, probabilities, of_logits.se, se, low, high, kind)


def _interval(
    drawn: Draw, tiles: TilesRead, weights: Floats, logits: Floats, task: str
) -> tuple[Floats, Floats] | None:
    """Return the intervals (A,) of the answers, computed on the scale on which they are symmetric and mapped back."""
    if tiles.term_range is None:
        return None
    answers, gradient = TASKS[task].to_interval_scale(logits)
    values = tiles.terms @ gradient
    lowest, highest = tiles.term_range
    rising, falling = np.maximum(gradient, 0), np.minimum(gradient, 0)
    width = half_width(
        drawn,
        tiles.gates,
        ratio_standard_error(drawn, values, tiles.gates),
        weights @ values,
        lowest @ rising + highest @ falling,
        highest @ rising + lowest @ falling,
    )
    if width is None:
        return None
    return TASKS[task].from_interval_scale(answers - width), TASKS[task].from_interval_scale(answers + width)


def with_answer(prediction: Prediction, estimate: Estimate) -> Prediction:
    """Return the prediction, of its task and classes, with the answer of an estimate."""
    task = TASKS[prediction.task]

    def number(values: Floats | None) -> float | None:
        return None if values is None else task.value(values)

    has_probabilities = estimate.probabilities is not None
    return replace(
        prediction,
        predicted=task.predicted(estimate.logits, prediction.classes),
        probabilities=_tuple(estimate.probabilities),
        se=_tuple(estimate.se),
        low=_tuple(estimate.low) if has_probabilities else None,
        high=_tuple(estimate.high) if has_probabilities else None,
        logits=_tuple(estimate.logits),
        logits_se=_tuple(estimate.logits_se),
        se_kind=estimate.kind,
        value=number(estimate.logits),
        se_value=number(estimate.logits_se),
        low_value=number(estimate.low),
        high_value=number(estimate.high),
    )


def attention_mass(drawn: Draw, readable: NDArray[np.bool_]) -> float:
    """Return the share of the attention on the tiles that were read."""
    return float(min(1.0, drawn.attention[readable].sum()))


def _tuple(values: Floats | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values.tolist())
