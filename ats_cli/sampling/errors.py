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
    when it is 0 because everything was drawn. Whole numbers but for "pivotal".
    """

    se: Floats | None
    kind: Literal["unbiased", "approximate"] | None
    df: float | None = None


CANNOT_TELL = StandardError(None, None)

# Differences of three steps leave smooth changes out, but of m atoms only some 0.43 m degrees of freedom, where
# those of one step leave 0.67 m: too dear for a few atoms.
FIRST, THIRD = np.array([1.0, -1.0]), np.array([1.0, -3.0, 3.0, -1.0])
ENOUGH_FOR_THIRD = 20


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

    df: float = int(draw.draws.sum()) - 1
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
        many = np.count_nonzero(random)
        if many < 2:
            return CANNOT_TELL
        out = 1 - draw.attention[random] / draw.weights[random]
        squares, df = differences(out, f[random], THIRD if many >= ENOUGH_FOR_THIRD else FIRST)
        variance = draw.weights[random][0] ** 2 * squares
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


def differences(out: Floats, f: Floats, contrast: Floats) -> tuple[Floats, float]:
    """sum_i out_i Var(f_i), estimated (C,) from differences of neighbours along the curve, and its degrees of freedom.

    `out`: (m,), `f`: (m, C). `contrast`: (k,), k <= m, weights of neighbours that sum to 0; scaled here to length 1.
    Every run of k atoms gives one difference d = sum_j c_j f_{i+j}, weighed by o = sum_j c_j^2 out_{i+j}; the
    estimate is m / (m - k + 1) sum o d^2 (as for systematic samples: Wolter 2007, chapter 8). Runs overlap, so it
    varies more than that many separate squares: it is a quadratic form f' A f, and for independent normal f the
    scaled chi-square of the same mean and variance has tr(A)^2 / tr(A^2) degrees of freedom (Satterthwaite 1946).
    """
    c = contrast / np.linalg.norm(contrast)
    runs = len(out) - len(c) + 1
    weights = np.correlate(out, c**2, "valid")
    apart = sum(c[j] * f[j : j + runs] for j in range(len(c)))
    # tr(A^2) = sum over pairs of runs of o o' (c . c')^2; c . c' depends on how far apart the two start.
    overlap = np.correlate(c, c, "full")[len(c) - 1 :]
    trace_of_square = sum(
        (1 if lag == 0 else 2) * overlap[lag] ** 2 * (weights[lag:] @ weights[: runs - lag])
        for lag in range(min(len(c), runs))
    )
    # An atom a hair from certain can leave nothing at all.
    df = weights.sum() ** 2 / trace_of_square if trace_of_square > 0 else 1.0
    return np.asarray(len(out) / runs * (weights @ apart**2)), float(df)
