"""Quantiles of Student's t."""

import math
from statistics import NormalDist

NORMAL = NormalDist()


def t_quantile(probability: float, df: float) -> float:
    """Return a quantile of Student's t for `df` >= 1 degrees of freedom.

    Exact for 1 and 2, below 3 that of the whole number below. From 3 on by its expansion about the normal quantile
    (Abramowitz and Stegun 26.7.5), within 0.2 % at 0.975.
    """
    if df < 2:
        return math.tan(math.pi * (probability - 0.5))
    if df < 3:
        p = 2 * probability - 1
        return p * math.sqrt(2 / (1 - p * p))
    z = NORMAL.inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / df ** (i + 1) for i, term in enumerate(terms)))
