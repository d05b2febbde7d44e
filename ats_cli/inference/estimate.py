"""From the tiles that were read to class probabilities and their standard errors. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling import Draw, probability_gradient, ratio_standard_error, ratio_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    weights: Floats
    logits: Floats
    probabilities: Floats
    logits_se: Floats | None
    se: Floats | None
    kind: Literal["unbiased", "approximate", "nominal"] | None


def estimate_from(
    drawn: Draw, terms: Floats, readable: NDArray[np.bool_], bias: Floats, stopped: bool, task: str = "multi-class"
) -> Estimate:
    """Logits and probabilities (C,), with their standard errors, from the terms (n, C) of the readable tiles.

    A probability's error is projected on its own gradient, not put together from the logits'. After a stop that the
    data chose, the errors are what a fixed number of tiles would have, and are called nominal.
    """
    weights = ratio_weights(drawn.weights, readable)
    logits = weights @ terms + bias
    probabilities = probabilities_of(logits, task)
    slopes = probability_gradient(terms, probabilities) if task == "multi-class" else _slopes(terms, probabilities)
    of_logits = ratio_standard_error(drawn, terms, readable)
    of_probabilities = ratio_standard_error(drawn, slopes, readable)
    kind = "nominal" if stopped and of_logits.kind and not drawn.exact else of_logits.kind
    return Estimate(weights, logits, probabilities, of_logits.se, of_probabilities.se, kind)


def probabilities_of(logits: NDArray[np.floating], task: str) -> NDArray[np.float64]:
    """Class probabilities of logits (..., C): of one class, of several labels each by itself, of a number NaN."""
    if task == "regression":
        return np.full(np.shape(logits), np.nan)
    return softmax(logits) if task == "multi-class" else sigmoid(logits)


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), in float64."""
    return np.asarray(0.5 + 0.5 * np.tanh(np.asarray(logits, np.float64) / 2))


def _slopes(terms: Floats, probabilities: Floats) -> Floats:
    """What a sigmoid's standard error is projected on: a change of its logit moves it by p (1 - p)."""
    return np.asarray(np.nan_to_num(probabilities * (1 - probabilities)) * terms)


def softmax(logits: NDArray[np.floating], axis: int = -1) -> NDArray[np.float64]:
    """Probabilities over an axis, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis, keepdims=True))
