"""Inclusion probabilities of a fixed-size draw along a curve: which atoms are certain, how many others are drawn."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# An atom this close to certain counts as certain: otherwise rounding could draw it twice or not at all.
ALMOST_CERTAIN = 1 - 1e-9


def threshold(attention: Floats, tiles: int) -> float:
    """Return the lambda at which the inclusion probabilities min(1, a / lambda) sum to `tiles` < K.

    Fearnhead and Clifford (2003).
    """
    split = np.partition(attention, len(attention) - tiles)
    top = np.sort(split[len(attention) - tiles :])[::-1]
    # Tail masses are summed from the small end: 1 - (sum of the largest) would lose them to rounding.
    tail = split[: len(attention) - tiles].sum() + np.cumsum(top[::-1])[::-1]
    candidates = tail / (tiles - np.arange(tiles))
    # If rounding removes all but the top `tiles`, no candidate is above its atom: all are certain.
    above = top < candidates
    return float(candidates[np.argmax(above) if above.any() else -1])


def certain_and_rest(attention: Floats, tiles: int, order: Indices) -> tuple[Floats, NDArray[np.bool_], Floats, int]:
    """Return (along, certain, cumulative, remaining), with which a draw along a curve starts.

    `along`: attention in the order of the curve, (K,). `certain`: (K,) bool, atoms with a >= lambda, always drawn.
    `cumulative`: (K,) running sum of the attention of the others. `remaining`: how many of the others to draw.
    """
    lam = threshold(attention, tiles)
    along = attention[order]
    certain = along >= lam * ALMOST_CERTAIN
    cumulative = np.where(certain, 0.0, along)
    np.cumsum(cumulative, out=cumulative)  # in place: a large map is 80 MB each time
    return along, certain, cumulative, tiles - int(np.count_nonzero(certain))
