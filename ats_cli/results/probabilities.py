"""From class logits to probabilities, by what a model learnt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def probabilities_of(logits: Floats, task: str) -> Floats:
    """Probabilities of logits (..., C): of one class (softmax), or of several labels each by itself (sigmoid)."""
    if task == "multi-label":
        return np.asarray(0.5 + 0.5 * np.tanh(logits / 2))
    own = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(own / own.sum(axis=-1, keepdims=True))
