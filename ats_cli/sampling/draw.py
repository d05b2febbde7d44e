"""One draw over an attention map, by a scheme's name."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import SAMPLERS
from ats_cli.sampling import schemes
from ats_cli.sampling.hilbert import hilbert_order


@dataclass(frozen=True)
class Draw:
    """The distinct positions drawn, n of them, in draw order.

    `positions`: (n,) flat indices, row * cols + col. `attention`: (n,) of each. `weights`: (n,) such that
    sum(weights * f) estimates sum(attention * f) over the slide. `draws`: (n,) how often each was drawn (more than
    once only with replacement).
    """

    positions: NDArray[np.int64]
    attention: NDArray[np.float64]
    weights: NDArray[np.float64]
    draws: NDArray[np.int64]


def draw(attention: NDArray[np.floating], tiles: int, sampler: str, rng: np.random.Generator) -> Draw:
    """Draw `tiles` positions of an attention map, (rows, cols), non-negative, summing to 1 over the map.

    Positions without attention are never drawn. When `tiles` reaches the number of positions, the schemes without
    replacement take every position at its own attention, and the estimate is exact.

    Raises ValueError for an unknown sampler, fewer than one tile, or a map that is no distribution.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}: choose from {', '.join(SAMPLERS)}")
    if tiles < 1:
        raise ValueError(f"at least one tile must be drawn, not {tiles}")
    values = np.asarray(attention, np.float64)
    flat: NDArray[np.float64] = values.ravel()
    if not (np.all(flat >= 0) and np.isclose(flat.sum(), 1, rtol=0, atol=1e-4)):
        raise ValueError("attention must be non-negative and sum to 1")
    flat = flat / flat.sum()
    candidates = np.flatnonzero(flat)
    positive = flat[candidates]

    if sampler == "with-replacement":
        chosen, weights = schemes.with_replacement(positive, tiles, rng)
        return _merge(candidates[chosen], flat, weights)
    if tiles >= len(candidates):
        return Draw(candidates, positive, positive.copy(), np.ones(len(candidates), np.int64))
    if sampler == "without-replacement":
        chosen, weights = schemes.without_replacement(positive, tiles, rng)
        drawn = candidates[chosen]
    else:
        order = hilbert_order(*values.shape)
        drawn, weights = schemes.systematic(flat, tiles, order, rng.random())
    return Draw(drawn, flat[drawn], weights, np.ones(len(drawn), np.int64))


def _merge(drawn: NDArray[np.int64], flat: NDArray[np.float64], weights: NDArray[np.float64]) -> Draw:
    """A tile drawn twice is read once and counts twice."""
    positions, first, inverse, draws = np.unique(drawn, return_index=True, return_inverse=True, return_counts=True)
    summed = np.zeros(len(positions))
    np.add.at(summed, inverse, weights)
    order = np.argsort(first)
    positions = positions[order]
    return Draw(positions, flat[positions], summed[order], draws[order].astype(np.int64))
