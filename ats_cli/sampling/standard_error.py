"""Standard errors of an estimate, computed from its own tiles.

They are of the sampling of tiles only: how far sum(weights * f) may be from sum(attention * f) over all positions of
the same map. They do not measure the accuracy of the model. docs/estimators.md.

A standard error is of a scalar: callers project the features on the scalar of interest (a class's logit, a margin, a
probability), one column each. The error of a margin does not follow from the errors of two classes.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.registry import SAMPLERS
from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import NO_ESTIMATE, StandardError

Floats = NDArray[np.float64]


def standard_error(draw: Draw, values: NDArray[np.floating]) -> StandardError:
    """Return the standard error of sum(draw.weights * values), for values (n,) or (n, C), the scalars of each tile.

    Exactly 0 if every position was drawn. None for a single tile, and where the sampler has no estimate. Raises
    ValueError if values do not fit the draw.
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
