"""Estimates with unreadable tiles: the ratio over the readable ones.

A draw may contain damaged tiles, which is known only after reading them. With r_i = 1 for a readable tile and 0
otherwise, the ratio of two unbiased estimates (Hajek 1971)

    F = sum_i w_i r_i f_i / sum_i w_i r_i

estimates sum_k a_k r_k f_k / sum_k a_k r_k: the mean over the readable positions, each at its own attention. Its bias
is that of any ratio, of order 1/n, and to first order its error is that of sum_i w_i u_i, with the values

    u_i = r_i (f_i - F) / sum_j w_j r_j,

by the variance of the draw (Sarndal, Swensson and Wretman 1992, section 5.5). docs/estimators.md.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import NO_ESTIMATE, StandardError
from ats_cli.sampling.standard_error import standard_error

Floats = NDArray[np.float64]
Readable = NDArray[np.bool_]


def ratio_weights(weights: Floats, readable: Readable) -> Floats:
    """Return the weights (n,) of the ratio, w r / sum(w r), with 0 for unreadable tiles; `weights` if all are readable.

    Raises ValueError if no tile is readable.
    """
    if readable.all():
        return weights
    if not readable.any():
        raise ValueError("no tile can be read")
    ratio = np.where(readable, weights, 0.0)
    return np.asarray(ratio / ratio.sum())


def mass_lost(weights: Floats, readable: Readable) -> float:
    """Return an unbiased estimate of the attention on unreadable positions: sum w (1 - r)."""
    return float(weights[~readable].sum())


def ratio_standard_error(draw: Draw, values: NDArray[np.floating], readable: Readable) -> StandardError:
    """Return the `standard_error` of the ratio, for values (n,) or (n, C); values of unreadable tiles are ignored.

    With unreadable tiles it is approximate, and there is no estimate if fewer than two readable tiles were drawn at
    random: it is computed from the spread among them.
    """
    if readable.all():
        return standard_error(draw, values)
    ratio = ratio_weights(draw.weights, readable)
    f = np.asarray(values, np.float64)
    f = np.where(readable.reshape(-1, *[1] * (f.ndim - 1)), f, 0.0)
    u = (f - ratio @ f) * (ratio / draw.weights).reshape(-1, *[1] * (f.ndim - 1))
    found = standard_error(draw, u)
    if found.se is None or found.df is None:
        return found
    random = readable & SAMPLERS[draw.sampler].random_tiles(draw)
    if np.count_nonzero(random) < 2:
        return NO_ESTIMATE
    return StandardError(found.se, "approximate", min(found.df, int(draw.draws[random].sum()) - 1))
