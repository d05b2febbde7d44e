"""The embedding of a slide: a vector by which slides are compared, accumulated strip by strip. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlideEmbedding:
    """Attention-weighted sums of the attention network's channels over positions.

    Each position has the weight exp(logit - max_logit).

    total: sum of the weights.
    first, second: (T,) weighted sums of the channels and of their squares.
    """

    max_logit: float
    total: float
    first: Floats
    second: Floats

    @classmethod
    def of(cls, logits: NDArray[np.float32], channels: NDArray[np.float32]) -> SlideEmbedding | None:
        """Return the sums of a strip: logits (rows, cols), channels (T, rows, cols). None if every logit is -inf."""
        max_logit = float(logits.max())
        if max_logit == -np.inf:
            return None
        weights = np.exp(logits - max_logit).ravel()
        values = channels.reshape(len(channels), -1)
        first, second = values @ weights, np.square(values) @ weights
        return cls(max_logit, float(weights.sum(dtype=np.float64)), first.astype(np.float64), second.astype(np.float64))

    def merge(self, other: SlideEmbedding | None) -> SlideEmbedding:
        """Return the sums over the positions of both."""
        if other is None:
            return self
        max_logit = max(self.max_logit, other.max_logit)
        own_scale, other_scale = np.exp(self.max_logit - max_logit), np.exp(other.max_logit - max_logit)
        return SlideEmbedding(
            max_logit,
            float(own_scale * self.total + other_scale * other.total),
            own_scale * self.first + other_scale * other.first,
            own_scale * self.second + other_scale * other.second,
        )

    def vector(self) -> Floats:
        """Return mean and standard deviation (2 T,) of the channels under the attention."""
        mean = self.first / self.total
        return np.concatenate([mean, np.sqrt(np.maximum(self.second / self.total - mean**2, 0))])
