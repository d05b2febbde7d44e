"""One draw over an attention map, by a scheme's name."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import SAMPLERS
from ats_cli.sampling import schemes
from ats_cli.sampling.hilbert import hilbert_order
from ats_cli.sampling.murthy import murthy_weights
from ats_cli.sampling.pivotal import pivotal

# Drawn by an exponential race. A draw of n is then the beginning of a draw of m > n with the same generator.
RACES = ("murthy", "without-replacement")

# Drawn along a curve over the whole map.
CURVES = ("pivotal", "systematic")

# A map whose sum is this close to 1 is taken as it is, not copied.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Draw:
    """The distinct positions drawn, n of them.

    In order of drawing for the races and with replacement; along the curve for "pivotal" and "systematic".
    `positions`: (n,) flat indices, row * cols + col. `attention`: (n,) of each. `weights`: (n,) such that
    sum(weights * f) estimates sum(attention * f) over the slide. `draws`: (n,) how often each was drawn (more than
    once only with replacement). `sampler`: the scheme, one of SAMPLERS; standard errors are its.
    """

    positions: NDArray[np.int64]
    attention: NDArray[np.float64]
    weights: NDArray[np.float64]
    draws: NDArray[np.int64]
    sampler: str = "systematic"

    @property
    def exact(self) -> bool:
        """Nothing was left to chance: every position with attention is drawn and counts for itself."""
        if self.sampler == "with-replacement":
            return len(self.positions) == 1 and bool(self.attention[0] == 1)
        return bool(np.array_equal(self.weights, self.attention))


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
    flat: NDArray[np.float64] = np.asarray(attention, np.float64).ravel()
    total = flat.sum()
    if not (flat.min() >= 0 and np.isclose(total, 1, rtol=0, atol=1e-4)):
        raise ValueError("attention must be non-negative and sum to 1")
    if abs(total - 1) > ROUNDING:
        flat = flat / total

    if sampler in CURVES and tiles < np.count_nonzero(flat):
        order = hilbert_order(*attention.shape)
        if sampler == "pivotal":
            drawn, weights = pivotal(flat, tiles, order, rng)
        else:
            drawn, weights = schemes.systematic(flat, tiles, order, rng.random())
        return Draw(drawn, flat[drawn], weights, np.ones(len(drawn), np.int64), sampler)
    candidates = np.flatnonzero(flat)
    if sampler == "with-replacement":
        chosen, weights = schemes.with_replacement(flat[candidates], tiles, rng)
        return merged(candidates[chosen], flat[candidates[chosen]], weights)
    if sampler in RACES:
        chosen = schemes.race(flat[candidates], min(tiles, len(candidates)), rng)
        return race_draw(candidates[chosen], flat[candidates[chosen]], sampler, everything=tiles >= len(candidates))
    return Draw(candidates, flat[candidates], flat[candidates], np.ones(len(candidates), np.int64), sampler)


def race_draw(
    positions: NDArray[np.int64], attention: NDArray[np.float64], sampler: str, *, everything: bool = False
) -> Draw:
    """The first arrivals of a race as a Draw, weighed by "murthy" or "without-replacement" (Des Raj).

    `positions`, `attention`: (n,) in order of arrival; attention as a share of the whole map's. `everything`: no
    position with attention is left out.
    """
    if everything:
        weights = attention.copy()
    elif sampler == "murthy":
        weights = murthy_weights(attention)
    else:
        weights = schemes.des_raj_weights(attention)
    return Draw(positions, attention, weights, np.ones(len(positions), np.int64), sampler)


def merged(drawn: NDArray[np.int64], attention: NDArray[np.float64], weights: NDArray[np.float64]) -> Draw:
    """Independent draws, (n,) each, as a Draw: a tile drawn twice is read once and counts twice."""
    positions, first, inverse, draws = np.unique(drawn, return_index=True, return_inverse=True, return_counts=True)
    summed = np.zeros(len(positions))
    np.add.at(summed, inverse, weights)
    order = np.argsort(first)
    once = first[order]
    return Draw(drawn[once], attention[once], summed[order], draws[order].astype(np.int64), "with-replacement")
