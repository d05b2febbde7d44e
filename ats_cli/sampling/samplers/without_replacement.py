"""The paper's sampler: an exponential race, with the weights of Des Raj's estimator (Des Raj 1956)."""

import numpy as np

from ats_cli.sampling.race import Floats, RaceSampler


def des_raj_weights(attention: Floats) -> Floats:
    """Weights of a sample drawn without replacement, given its attention in the order of drawing (Des Raj 1956).

    w_k = ((1 - sum_{j<k} a_j) + (n - 1 - k) a_k) / n: the mean of the n partial estimates
    t_k = sum_{j<k} a_j f_j + (1 - sum_{j<k} a_j) f_k. They sum to 1.
    """
    n = len(attention)
    before = np.cumsum(attention) - attention
    return (1 - before + (n - 1 - np.arange(n)) * attention) / n


def des_raj_variance(attention: Floats, f: Floats) -> Floats:
    """Return s^2 / n (C,) of the partial estimates t_k = sum_{j<k} a_j f_j + (1 - sum_{j<k} a_j) f_k.

    They are uncorrelated and have the same mean (Des Raj 1956). attention: (n,). f: (n, C).
    """
    before = np.cumsum(attention) - attention
    shares = attention[:, None] * f
    partial = np.cumsum(shares, axis=0) - shares + (1 - before)[:, None] * f
    return np.asarray(partial.var(axis=0, ddof=1) / len(f))


def des_raj_unseen(attention: Floats) -> float:
    """Return the weight of one more tile of vanishing attention: (1 - sum a) / n."""
    return float(1 - attention.sum()) / len(attention)


SAMPLER = RaceSampler(
    "without-replacement", "in race order, the paper's weights", des_raj_weights, des_raj_variance, des_raj_unseen
)
