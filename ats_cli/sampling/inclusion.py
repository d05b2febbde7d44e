"""Inclusion probabilities of a fixed-size draw along a curve: which atoms are certain, how many others are drawn."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# An atom this close to certain is taken as certain: a hair below, rounding could draw it twice or not at all.
ALMOST_CERTAIN = 1 - 1e-9


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
    """What a draw along a curve starts from: (along, certain, cumulative, remaining).

    `along`: attention in the order of the curve, (K,). `certain`: atoms with a >= lambda, always in. `cumulative`:
    running sum of the others' attention. `remaining`: how remaining of the others to draw.
    """
    lam = threshold(attention, tiles)
    along = attention[order]
    certain = along >= lam * ALMOST_CERTAIN
    cumulative = np.where(certain, 0.0, along)
    np.cumsum(cumulative, out=cumulative)  # in place: a large map is 80 MB each time
    return along, certain, cumulative, tiles - int(np.count_nonzero(certain))
