"""Variance of a draw that is spread along a curve, from differences of neighbours."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Third differences cancel smooth changes, but have only 0.43 m degrees of freedom for m atoms, first differences
# 0.67 m: with few atoms, first differences are better.
FIRST, THIRD = np.array([1.0, -1.0]), np.array([1.0, -3.0, 3.0, -1.0])
MIN_TILES_FOR_THIRD = 20


def difference_variance(out: Floats, f: Floats, contrast: Floats) -> tuple[Floats, float]:
    """Estimate sum_i out_i Var(f_i), (C,), from differences of neighbours along the curve; with its degrees of freedom.

    `out`: (m,), `f`: (m, C). `contrast`: (k,), k <= m, weights of neighbours that sum to 0; scaled here to length 1.
    Every run of k atoms gives one difference d = sum_j c_j f_{i+j}, weighted by o = sum_j c_j^2 out_{i+j}; the
    estimate is m / (m - k + 1) sum o d^2 (as for systematic samples: Wolter 2007, chapter 8). Runs overlap, so it
    varies more than that many separate squares: it is a quadratic form f' A f, and for independent normal f the
    scaled chi-square of the same mean and variance has tr(A)^2 / tr(A^2) degrees of freedom (Satterthwaite 1946).
    """
    c = contrast / np.linalg.norm(contrast)
    runs = len(out) - len(c) + 1
    weights = np.correlate(out, c**2, "valid")
    apart = sum(c[j] * f[j : j + runs] for j in range(len(c)))
    # tr(A^2) = sum over pairs of runs of o o' (c . c')^2; c . c' depends on the lag between the two.
    overlap = np.correlate(c, c, "full")[len(c) - 1 :]
    trace_of_square = sum(
        (1 if lag == 0 else 2) * overlap[lag] ** 2 * (weights[lag:] @ weights[: runs - lag])
        for lag in range(min(len(c), runs))
    )
    # With atoms that are almost certain, rounding can give 0.
    df = weights.sum() ** 2 / trace_of_square if trace_of_square > 0 else 1.0
    return np.asarray(len(out) / runs * (weights @ apart**2)), float(df)
