"""Estimates as a ratio: of the tiles that can be read, each weighed once more by its gate.

A gate g_i in [0, 1] of a tile's own features says how much the tile counts; it is 0 for a tile that cannot be read,
which is known only after reading it. The ratio of two unbiased estimates (Hajek 1971)

    F = sum_i w_i g_i f_i / sum_i w_i g_i

estimates sum_k a_k g_k f_k / sum_k a_k g_k: the mean over the positions, each at its attention times its gate. Its bias
is that of any ratio, of order 1/n, and to first order its error is that of sum_i w_i u_i, with the values

    u_i = g_i (f_i - F) / sum_j w_j g_j,

by the variance of the draw (Sarndal, Swensson and Wretman 1992, section 5.5). With all gates 1, F is the plain estimate
sum_i w_i f_i. docs/estimators.md.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import NO_ESTIMATE, StandardError
from ats_cli.sampling.standard_error import standard_error

Floats = NDArray[np.float64]


def ratio_weights(weights: Floats, gates: NDArray[np.floating]) -> Floats:
    """Return the weights (n,) of the ratio, w g / sum(w g); `weights` if all gates are 1.

    gates: (n,), in 0..1. Raises ValueError if all are 0: no tile is readable.
    """
    if (gates == 1).all():
        return weights
    if not gates.any():
        raise ValueError("no tile can be read")
    ratio = weights * gates
    return np.asarray(ratio / ratio.sum())


def mass_lost(weights: Floats, readable: NDArray[np.bool_]) -> float:
    """Return an unbiased estimate of the attention on unreadable positions: sum w (1 - r)."""
    return float(weights[~readable].sum())


def effective_tiles(weights: Floats) -> float:
    """Return how many tiles an estimate with these weights (n,) rests on: (sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def ratio_standard_error(draw: Draw, values: NDArray[np.floating], gates: NDArray[np.floating]) -> StandardError:
    """Return the `standard_error` of the ratio, for values (n,) or (n, C); values of tiles with gate 0 are ignored.

    Where gates are not all 1 it is approximate, and there is no estimate if fewer than two tiles that count were drawn
    at random: it is computed from the spread among them.
    """
    if (gates == 1).all():
        return standard_error(draw, values)
    ratio = ratio_weights(draw.weights, gates)
    f = np.asarray(values, np.float64)
    f = np.where((gates > 0).reshape(-1, *[1] * (f.ndim - 1)), f, 0.0)
    u = (f - ratio @ f) * (ratio / draw.weights).reshape(-1, *[1] * (f.ndim - 1))
    found = standard_error(draw, u)
    if found.se is None or found.df is None:
        return found
    random = (gates > 0) & SAMPLERS[draw.sampler].random_tiles(draw)
    if np.count_nonzero(random) < 2:
        return NO_ESTIMATE
    return StandardError(found.se, "approximate", min(found.df, int(draw.draws[random].sum()) - 1))
