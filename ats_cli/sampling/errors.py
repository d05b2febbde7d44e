"""Standard errors of an estimate, from the very tiles that it was made of.

What is meant is the sampling of tiles only: how far sum(weights * f) may be from sum(attention * f) over all
positions of the same map. It says nothing of how right the model is. docs/estimators.md.

An error belongs to a scalar. So features are projected on what is asked (a class's logit, a margin, a probability)
before they come here, one column each; errors of classes cannot be put together to the error of a margin.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.murthy import murthy_variance

Floats = NDArray[np.float64]


class StandardError(NamedTuple):
    """`se`: the shape of one tile's values, or None when the draw cannot tell.

    `kind`: "unbiased" when the squared error is exactly so on average, "approximate" when nearly, None without `se`.
    `df`: degrees of freedom for a t quantile: an interval is estimate +- t(df) * se. None when there is no `se`, or
    when it is 0 because everything was drawn.
    """

    se: Floats | None
    kind: Literal["unbiased", "approximate"] | None
    df: int | None = None


CANNOT_TELL = StandardError(None, None)


def standard_error(draw: Draw, values: NDArray[np.floating]) -> StandardError:
    """Standard error of sum(draw.weights * values), for values (n,) or (n, C): the scalars of interest of each tile.

    Exactly 0 when every position was drawn. Without an estimate (None): one tile; "systematic", for which no unbiased
    variance exists; "pivotal" with fewer than two random atoms. Raises ValueError when values do not fit the draw.
    """
    n = len(draw.positions)
    if len(values) != n:
        raise ValueError(f"{len(values)} values for {n} tiles")
    of_tile = np.shape(values)[1:]
    f = np.asarray(values, np.float64).reshape(n, -1)
    if draw.exact:
        return StandardError(np.zeros(of_tile), "unbiased")
    if draw.sampler == "systematic" or draw.draws.sum() < 2:
        return CANNOT_TELL

    df = int(draw.draws.sum()) - 1
    kind: Literal["unbiased", "approximate"] = "unbiased"
    if draw.sampler == "with-replacement":
        variance = draw.draws @ (f - draw.weights @ f) ** 2 / (df * (df + 1))
    elif draw.sampler == "without-replacement":
        variance = _des_raj(draw.attention, f)
    elif draw.sampler == "murthy":
        variance = murthy_variance(draw.attention, f)
    else:
        # A certain atom counts for its own attention, a random one for lambda > attention.
        random = draw.weights > draw.attention
        df = int(np.count_nonzero(random)) - 1
        if df < 1:
            return CANNOT_TELL
        variance = _successive_differences(draw.attention[random], draw.weights[random], f[random])
        kind = "approximate"
    return StandardError(np.sqrt(variance).reshape(of_tile), kind, df)


def probability_gradient(terms: NDArray[np.floating], probabilities: NDArray[np.floating]) -> Floats:
    """Values (n, C) whose standard errors are those of the softmax probabilities (C,), to first order.

    `terms`: (n, C), each tile's term z_c of the logits sum_i w_i z_ic + bias_c. A change of the logits moves p_c by
    p_c (z_c - sum_c' p_c' z_c'), so that is what is projected on, tile by tile (the delta method).
    """
    z, p = np.asarray(terms, np.float64), np.asarray(probabilities, np.float64)
    return np.asarray(p * (z - (z @ p)[:, None]))


def _des_raj(attention: Floats, f: Floats) -> Floats:
    """s^2 / n of the partial estimates t_k = sum_{j<k} a_j f_j + (1 - sum_{j<k} a_j) f_k, which are uncorrelated and
    of one mean (Des Raj 1956). (n,), (n, C) -> (C,)."""
    before = np.cumsum(attention) - attention
    shares = attention[:, None] * f
    partial = np.cumsum(shares, axis=0) - shares + (1 - before)[:, None] * f
    return np.asarray(partial.var(axis=0, ddof=1) / len(f))


def _successive_differences(attention: Floats, lam: Floats, f: Floats) -> Floats:
    """v = lambda^2 m / (2 (m - 1)) sum_i o_i,i+1 (f_{i+1} - f_i)^2 over the m random atoms along the curve, where o
    is the mean of two neighbours' 1 - a / lambda (as for systematic samples: Wolter 2007, chapter 8). -> (C,)."""
    m = len(f)
    out = 1 - attention / lam
    between = (out[1:] + out[:-1]) / 2
    return np.asarray(lam[0] ** 2 * m / (2 * (m - 1)) * (between @ np.diff(f, axis=0) ** 2))
