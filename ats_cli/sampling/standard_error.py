"""Standard errors of an estimate, from the very tiles that it was made of.

What is meant is the sampling of tiles only: how far sum(weights * f) may be from sum(attention * f) over all
positions of the same map. It says nothing of how right the model is. docs/estimators.md.

An error belongs to a scalar. So features are projected on what is asked (a class's logit, a margin, a probability)
before they come here, one column each; errors of classes cannot be put together to the error of a margin.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import NO_ESTIMATE, StandardError

Floats = NDArray[np.float64]


def standard_error(draw: Draw, values: NDArray[np.floating]) -> StandardError:
    """Standard error of sum(draw.weights * values), for values (n,) or (n, C): the scalars of interest of each tile.

    Exactly 0 when every position was drawn. Without an estimate (None): one tile, and what the sampler cannot
    estimate. Raises ValueError when values do not fit the draw.
    """
    n = len(draw.positions)
    if len(values) != n:
        raise ValueError(f"{len(values)} values for {n} tiles")
    of_tile = np.shape(values)[1:]
    if draw.exact:
        return StandardError(np.zeros(of_tile), "unbiased")
    if draw.draws.sum() < 2:
        return NO_ESTIMATE
    found = SAMPLERS[draw.sampler].standard_error(draw, np.asarray(values, np.float64).reshape(n, -1))
    return found if found.se is None else found._replace(se=found.se.reshape(of_tile))
