"""Murthy's estimator: the weights that do not depend on the order of drawing, and their unbiased variance.

Murthy (1957) weights each tile of a sample S drawn without replacement by a_i P(S | i first) / P(S): the average of
Des Raj's weights over all n! orders, so its error is never larger. The sum over orders is an integral. In an
exponential race (arrival e_k / a_k), let t be the arrival of the first tile that is not in S, and r the attention
outside S. Given S, t has the density

    p(t) ~ exp(-r t) prod_{i in S} (1 - exp(-a_i t)),

and Murthy's weight is the mean over p of the threshold weight W_i(t) = a_i / (1 - exp(-a_i t)). Both facts are checked
by enumeration in the tests.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Attention outside the sample below this counts as 0: the weights are then the attention.
NOTHING_LEFT = 1e-12

# The integrals end where the integrand has fallen by 36 nats (2e-16). The trapezoid rule converges exponentially on
# such smooth peaks; with 128 nodes its error is below 1e-10.
CUT, NODES = 36.0, 128


def murthy_weights(attention: Floats) -> Floats:
    """Return the weights (n,) of a sample drawn without replacement, from its attention (n,) as a share of the map's.

    They sum to 1 and do not depend on the order. If the sample has all the attention, they are the attention itself.
    """
    if 1 - attention.sum() <= NOTHING_LEFT:
        return attention.copy()
    if len(attention) == 1:
        return np.ones(1)
    probability, weights, _ = _nodes(attention)
    return np.asarray(probability @ weights)


def murthy_unseen(attention: Floats) -> float:
    """Return the weight of one more tile of vanishing attention: the mean of 1 / t over p, the limit of W(t)."""
    if 1 - attention.sum() <= NOTHING_LEFT:
        return 0.0
    if len(attention) == 1:
        return 1.0
    probability, _, t = _nodes(attention)
    return float(probability @ (1 / t))


def murthy_variance(attention: Floats, values: Floats) -> Floats:
    """Return an unbiased estimate (C,) of the variance of sum(murthy_weights * values), from values (n, C), n >= 2.

    v = sum_{i<j} Cov_t(W_i, W_j) (f_i - f_j)^2 over the density of t above; never negative, as all W_i decrease with t.
    """
    if 1 - attention.sum() <= NOTHING_LEFT:
        return np.zeros(values.shape[1])
    probability, weights, _ = _nodes(attention)
    mean = probability @ weights
    # The double sum in O(n): sum_i Cov(W_i, sum_j W_j) f_i^2 - Var(sum_i W_i f_i), for f about its own estimate.
    about = values - mean @ values
    apart = weights - mean
    with_all = (probability * apart.sum(1)) @ apart
    variance = with_all @ about**2 - probability @ (apart @ about) ** 2
    return np.asarray(np.maximum(variance, 0))


def _nodes(attention: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the probabilities (Q,) of the nodes of t, the threshold weights W (Q, n) at them, and t (Q,); n >= 2."""
    left = 1 - attention.sum()
    n = len(attention)

    def log_density(u: float) -> float:
        """Of u = log t, up to a constant; concave."""
        t = np.exp(u)
        return float(u - left * t + np.log(-np.expm1(-attention * t)).sum())

    def slope(u: float) -> float:
        x = attention * np.exp(u)
        # x / (e^x - 1), in a form that gives 0 for large x instead of an overflow.
        return float(1 - left * np.exp(u) + (x * np.exp(-x) / -np.expm1(-x)).sum())

    # 1 - x/2 <= x / (e^x - 1) <= 1 brackets the mode.
    low, high = np.log(n + 1), np.log((n + 1) / left)
    mode = _falls_below(slope, 0.0, low, high)
    # Towards t = 0 the weights grow, that of the least attention most. The variance needs their square, so start where
    # density times square has fallen.
    least = attention.min()

    def log_square(u: float) -> float:
        return log_density(u) - 2 * float(np.log(-np.expm1(-least * np.exp(u))))

    start = mode - _reach(lambda d: log_square(mode - d), log_square(mode) - CUT)
    stop = mode + _reach(lambda d: log_density(mode + d), log_density(mode) - CUT)

    u = np.linspace(start, stop, NODES)
    t = np.exp(u)[:, None]
    arrived = -np.expm1(-attention * t)
    log_p = u - left * t[:, 0] + np.log(arrived).sum(1)
    probability = np.exp(log_p - log_p.max())
    return probability / probability.sum(), attention / arrived, t[:, 0]


def _reach(function: Callable[[float], float], level: float) -> float:
    """Return the d > 0 from which a function that decreases without bound is below `level`."""
    high = 1.0
    while function(high) > level:
        high *= 2
    return _falls_below(function, level, 0.0, high)


def _falls_below(function: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Return where a decreasing function crosses `level` between `low` and `high`, as precisely as nodes need."""
    for _ in range(24):
        middle = (low + high) / 2
        if function(middle) > level:
            low = middle
        else:
            high = middle
    return high
