"""Tiles that cannot be read: the estimate is the ratio over those that can.

A draw may hit tiles that are damaged, which is known only once they are read. With r_i = 1 for a readable tile and 0
for another, the ratio of two unbiased estimates (Hajek 1971)

    F = sum_i w_i r_i f_i / sum_i w_i r_i

estimates sum_k a_k r_k f_k / sum_k a_k r_k: the mean over the readable positions, each at its own attention. Its bias
is that of any ratio, of order 1/n, and to first order its error is that of sum_i w_i u_i, with the values

    u_i = r_i (f_i - F) / sum_j w_j r_j,

by whatever variance belongs to the draw (Sarndal, Swensson and Wretman 1992, section 5.5). docs/estimators.md.
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
    """Weights (n,) of the ratio: w r / sum(w r), 0 for what cannot be read; `weights` themselves where all can.

    Raises ValueError when nothing can be read.
    """
    if readable.all():
        return weights
    if not readable.any():
        raise ValueError("no tile can be read")
    ratio = np.where(readable, weights, 0.0)
    return np.asarray(ratio / ratio.sum())


def mass_lost(weights: Floats, readable: Readable) -> float:
    """Unbiased estimate of the attention on positions that cannot be read: sum w (1 - r)."""
    return float(weights[~readable].sum())


def ratio_standard_error(draw: Draw, values: NDArray[np.floating], readable: Readable) -> StandardError:
    """`standard_error` of the ratio, for values (n,) or (n, C) of which only those of readable tiles count.

    With unreadable tiles it is approximate. Without an estimate also where fewer than two readable tiles were drawn at
    random: the spread among them is all that is known of the error.
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
