"""What a slide shows where the attention lies, in a few numbers, to compare slides by. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Described:
    """Sums over positions, each weighed by exp(logit - `largest`): of 1, of what is seen (T,), and of its square."""

    largest: float
    total: float
    first: Floats
    second: Floats

    @classmethod
    def of(cls, logits: NDArray[np.float32], seen: NDArray[np.float32]) -> Described | None:
        """Of a strip: logits (rows, cols), -inf where there is no attention; what is seen (T, rows, cols)."""
        largest = float(logits.max())
        if largest == -np.inf:
            return None
        weights = np.exp(logits - largest).ravel()
        values = seen.reshape(len(seen), -1)
        first, second = values @ weights, np.square(values) @ weights
        return cls(largest, float(weights.sum(dtype=np.float64)), first.astype(np.float64), second.astype(np.float64))

    def with_(self, other: Described | None) -> Described:
        """Of both strips."""
        if other is None:
            return self
        largest = max(self.largest, other.largest)
        mine, theirs = np.exp(self.largest - largest), np.exp(other.largest - largest)
        return Described(
            largest,
            float(mine * self.total + theirs * other.total),
            mine * self.first + theirs * other.first,
            mine * self.second + theirs * other.second,
        )

    def traits(self) -> Floats:
        """Mean and standard deviation (2 T,) over the attention."""
        mean = self.first / self.total
        return np.concatenate([mean, np.sqrt(np.maximum(self.second / self.total - mean**2, 0))])
