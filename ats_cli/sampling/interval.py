"""Intervals of an estimate that count one unseen tile more.

A standard error is computed from the tiles that were drawn. Where the answer rests on few of them, because evidence is
rare or a gate leaves few, a draw may hold none of the tiles that matter, and its spread then says nothing of them: 95 %
intervals of the standard error alone cover as little as a half. So the interval counts one more tile, of vanishing
attention, with an open gate. With q the weight that it would have, and its term anywhere between `lowest` and
`highest`, it moves an estimate Z of total weight W = sum_i w_i g_i by at most

    d = max(highest - Z, Z - lowest) q / (W + q),

and the interval is Z -+ sqrt((t se)^2 + d^2). If everything was drawn, d is 0. docs/estimators.md has its coverage.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import StandardError
from ats_cli.t_quantile import t_quantile

Floats = NDArray[np.float64]

LEVEL = 0.95


def half_width(
    draw: Draw,
    gates: NDArray[np.floating],
    found: StandardError,
    estimate: Floats,
    lowest: Floats,
    highest: Floats,
) -> Floats | None:
    """Return the half width (A,) of the interval of estimates (A,), sums of weighted terms without a bias.

    gates: (n,), 1 without a gate, 0 for tiles that cannot be read. found: their standard errors. lowest, highest: (A,),
    between which one tile's terms lie. None if there is no standard error.
    """
    if found.se is None:
        return None
    if draw.exact:
        return np.zeros(len(estimate))
    weight = unseen_weight(draw)
    farthest = np.maximum(np.maximum(highest - estimate, estimate - lowest), 0.0)
    shift = farthest * weight / (draw.weights @ gates + weight)
    reach = 0.0 if found.df is None else t_quantile((1 + LEVEL) / 2, found.df)
    return np.asarray(np.hypot(reach * found.se, shift))


def unseen_weight(draw: Draw) -> float:
    """Return the weight that one more tile of vanishing attention would have, at most 1 / n for n draws; 0 if exact."""
    if draw.exact:
        return 0.0
    return min(SAMPLERS[draw.sampler].unseen_weight(draw), 1 / int(draw.draws.sum()))
