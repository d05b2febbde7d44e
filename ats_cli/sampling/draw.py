"""One draw over an attention map, by a sampler's name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS, TRAINING_SAMPLER

# A map whose sum is this close to 1 is not normalised (which would copy it).
ROUNDING = 1e-12

# How far the sum of an attention map may be from 1, at most; and of that, for each position. A softmax in 32 bits over
# spread logits misses 1 by up to 2.5e-10 for each position: by 2e-4 over a million, by 7e-3 over 30 million.
MOST_OFF, OFF, OFF_PER_POSITION = 0.1, 1e-4, 1e-9


@dataclass(frozen=True)
class Draw:
    """The n distinct positions of a draw, in the order of drawing, or along the sampler's curve.

    `positions`: (n,) flat indices, row * cols + col. `attention`: (n,) of each. `weights`: (n,) such that
    sum(weights * f) estimates sum(attention * f) over the slide. `draws`: (n,) how many times each was drawn (more than
    once only with `replacement`). `sampler`: its name; standard errors are the sampler's.
    """

    positions: NDArray[np.int64]
    attention: NDArray[np.float64]
    weights: NDArray[np.float64]
    draws: NDArray[np.int64]
    sampler: str = TRAINING_SAMPLER
    replacement: bool = False

    @property
    def exact(self) -> bool:
        """Whether nothing is random: every position with attention is drawn, with its attention as weight."""
        if self.replacement:
            return len(self.positions) == 1 and bool(self.attention[0] == 1)
        return bool(np.array_equal(self.weights, self.attention))

    @property
    def own_mean_factor(self) -> float:
        """What makes a covariance about the draw's own mean unbiased: n / (n - 1) for n independent draws.

        1 for other samplers, whose factor is not known, and for a single draw, whose covariance is 0.
        """
        n = int(self.draws.sum())
        return n / (n - 1) if n > 1 and SAMPLERS[self.sampler].independent else 1.0


def draw(attention: NDArray[np.floating], tiles: int, sampler: str, rng: np.random.Generator) -> Draw:
    """Draw `tiles` positions of an attention map, (rows, cols), non-negative, summing to 1 over the map.

    The sum is taken, and made 1, in 64 bits; a map that a softmax in 32 bits gave is accepted at any size. Positions
    without attention are never drawn. If `tiles` is at least the number of positions, samplers without
    replacement take every position with its attention as weight, and the estimate is exact.

    Raises AtsError for an unknown sampler, ValueError for fewer than one tile, or a map that is not a distribution.
    """
    member = SAMPLERS[sampler]
    if tiles < 1:
        raise ValueError(f"at least one tile must be drawn, not {tiles}")
    flat: NDArray[np.float64] = np.asarray(attention, np.float64).ravel()
    total = flat.sum()
    tolerance = min(MOST_OFF, OFF + OFF_PER_POSITION * flat.size)
    if not (flat.min() >= 0 and abs(total - 1) <= tolerance):
        raise ValueError(
            f"attention must be non-negative and sum to 1; the sum over {flat.size:,} positions is {total:.6g}, the "
            f"least value {flat.min():.3g}. Apply a softmax over all positions to the logits."
        )
    if abs(total - 1) > ROUNDING:
        flat = flat / total
    rows, cols = attention.shape
    return member.draw(flat, (rows, cols), tiles, rng)


def all_positions(attention: NDArray[np.float64], sampler: str) -> Draw:
    """Return the exact draw: every position with attention, (K,), with its attention as weight."""
    positions = np.flatnonzero(attention)
    at = attention[positions]
    return Draw(positions, at, at, np.ones(len(positions), np.int64), sampler)
