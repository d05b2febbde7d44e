"""The attention over all positions of a slide in training, without a gradient, and its sums, in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.nets.attention import UNIFORM_SHARE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FullAttention:
    """a = (1 - e) softmax + e / K over the K positions that may be drawn; e, `uniform`, is 0 outside of training.

    `values`: (rows, cols) float64, sums to 1. `positions`: K. `entropy`: in nats. `effective`: 1 / sum of squares.
    `mean_log`: sum of softmax * log a.
    """

    values: Floats
    positions: int
    uniform: float
    entropy: float
    effective: float
    mean_log: float

    def softmax_share(self, attention: Floats) -> Floats:
        """The share (n,) of attention (n,) that is from the softmax, not spread evenly."""
        return np.asarray(1 - self.uniform / self.positions / attention)

    def without_values(self) -> FullAttention:
        """The sums alone, which do not grow with the slide."""
        return replace(self, values=np.empty((0, 0)))


def full_attention(logits: Tensor, allowed: NDArray[np.bool_], training: bool) -> FullAttention:
    """Return the attention of logits (rows, cols) over the `allowed` positions, (rows, cols) bool."""
    flat = logits.detach().cpu().double().numpy()[allowed]
    uniform = UNIFORM_SHARE if training else 0.0
    flat -= flat.max()
    np.exp(flat, out=flat)
    flat /= flat.sum()
    mixed = (1 - uniform) * flat + uniform / len(flat)
    log = np.log(np.maximum(mixed, 1e-300))
    values = np.zeros(allowed.shape)
    values[allowed] = mixed
    return FullAttention(
        values,
        len(flat),
        uniform,
        float(-(mixed @ log)),
        float(1 / (mixed @ mixed)),
        float(flat @ log),
    )
