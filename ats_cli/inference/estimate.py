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


def estimate_from(drawn: Draw, terms: Floats, readable: NDArray[np.bool_], bias: Floats, stopped: bool) -> Estimate:
    """Logits and probabilities (C,), with their standard errors, from the terms (n, C) of the readable tiles.

    A probability's error is projected on its own gradient, not put together from the logits'. After a stop that the
    data chose, the errors are what a fixed number of tiles would have, and are called nominal.
    """
    weights = ratio_weights(drawn.weights, readable)
    logits = weights @ terms + bias
    probabilities = softmax(logits)
    of_logits = ratio_standard_error(drawn, terms, readable)
    of_probabilities = ratio_standard_error(drawn, probability_gradient(terms, probabilities), readable)
    kind = "nominal" if stopped and of_logits.kind and not drawn.exact else of_logits.kind
    return Estimate(weights, logits, probabilities, of_logits.se, of_probabilities.se, kind)


def softmax(logits: NDArray[np.floating], axis: int = -1) -> NDArray[np.float64]:
    """Probabilities over an axis, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis, keepdims=True))
