"""Ways to draw positions and weigh them: for every h, E[sum_i w_i h_i] = sum_k a_k h_k.

Each scheme takes the attention of the positions, (K,) float64, summing to 1, and gives
the drawn indices and their weights. All are unbiased; they differ in their error. docs/estimators.md.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# An atom this close to certain is taken as certain: a hair below, rounding could draw it twice or not at all.
ALMOST_CERTAIN = 1 - 1e-9


def with_replacement(attention: Floats, tiles: int, rng: np.random.Generator) -> tuple[Indices, Floats]:
    """`tiles` independent draws; indices may repeat; every weight is 1/tiles."""
    cumulative = np.cumsum(attention)
    drawn = np.searchsorted(cumulative, rng.random(tiles) * cumulative[-1], side="right")
    return np.minimum(drawn, len(attention) - 1), np.full(tiles, 1 / tiles)


def race(attention: Floats, tiles: int, rng: np.random.Generator) -> Indices:
    """The first `tiles` arrivals of an exponential race with rates `attention`: successive sampling without
    replacement, in the order of drawing (Efraimidis and Spirakis 2006)."""
    # float64 on purpose: float32 exponentials give exact zeros, which win the race whatever their attention.
    arrival = rng.standard_exponential(len(attention)) / attention
    first = np.argpartition(arrival, tiles - 1)[:tiles]
    return first[np.argsort(arrival[first])]


def des_raj_weights(attention: Floats) -> Floats:
    """Weights of a sample drawn without replacement, given its attention in the order of drawing (Des Raj 1956).

    w_k = ((1 - sum_{j<k} a_j) + (n - 1 - k) a_k) / n: the mean of the n partial estimates
    t_k = sum_{j<k} a_j f_j + (1 - sum_{j<k} a_j) f_k. They sum to 1.
    """
    n = len(attention)
    before = np.cumsum(attention) - attention
    return (1 - before + (n - 1 - np.arange(n)) * attention) / n


def threshold(attention: Floats, tiles: int) -> float:
    """The lambda at which the inclusion probabilities min(1, a / lambda) sum to `tiles` < K (Fearnhead and
    Clifford 2003)."""
    split = np.partition(attention, len(attention) - tiles)
    top = np.sort(split[len(attention) - tiles :])[::-1]
    # Tail masses are summed from the small end: 1 - (sum of the largest) would lose them to rounding.
    tail = split[: len(attention) - tiles].sum() + np.cumsum(top[::-1])[::-1]
    candidates = tail / (tiles - np.arange(tiles))
    # When all but the top `tiles` is dust that rounding swallows, no candidate is above its atom: all are certain.
    above = top < candidates
    return float(candidates[np.argmax(above) if above.any() else -1])


def certain_and_rest(attention: Floats, tiles: int, order: Indices) -> tuple[Floats, NDArray[np.bool_], Floats, int]:
    """What a draw along a curve starts from: (along, certain, cumulative, many).

    `along`: attention in the order of the curve, (K,). `certain`: atoms with a >= lambda, always in. `cumulative`:
    running sum of the others' attention. `many`: how many of the others to draw.
    """
    lam = threshold(attention, tiles)
    along = attention[order]
    certain = along >= lam * ALMOST_CERTAIN
    cumulative = np.where(certain, 0.0, along)
    np.cumsum(cumulative, out=cumulative)  # in place: a large map is 80 MB each time
    return along, certain, cumulative, tiles - int(np.count_nonzero(certain))


def systematic(attention: Floats, tiles: int, order: Indices, start: float) -> tuple[Indices, Floats]:
    """`tiles` < K distinct draws: certain atoms, and one systematic draw among the others along `order`.

    `order` is a permutation of the K indices (a curve over the slide); `start`, uniform in [0, 1), is the only
    randomness. Atoms with a >= lambda are always in, with weight a; the others with probability a / lambda and
    weight lambda. Positions without attention are never drawn; `tiles` is fewer than those with some.
    """
    along, certain, cumulative, many = certain_and_rest(attention, tiles, order)
    if many:
        step = cumulative[-1] / many
        # Rounding may put the last point on the very end of the last interval.
        last = np.searchsorted(cumulative, cumulative[-1])
        picked = np.minimum(np.searchsorted(cumulative, (start + np.arange(many)) * step, side="right"), last)
    else:
        step, picked = 0.0, np.empty(0, np.int64)
    drawn = np.sort(np.concatenate([np.flatnonzero(certain), picked]))
    return order[drawn], np.where(certain[drawn], along[drawn], step)
