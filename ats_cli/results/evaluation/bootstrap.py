"""95 % intervals by the bootstrap over groups: how the figures vary with the patients.

Whole groups are drawn with replacement, because the slides of a patient are not independent. The interval is the
percentile interval, corrected for the median bias of the bootstrap (Efron 1987, BC) and widened for few groups
(Hesterberg 2015, "expanded percentile": t quantiles with G - 1 degrees of freedom, times sqrt(G / (G - 1))).

A calibration error is a mean of absolute values, so it is biased upwards, and more so in a resample. Its interval is
the union of those with and without the bias correction, and starts at 0 if resampling alone gives an error as large.
`benchmarks/intervals.py` measures the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ats_cli.results.evaluation.metrics import Figure, Table, calibration_noise
from ats_cli.t_quantile import t_quantile

RESAMPLES, LEVEL = 1000, 0.95

# Weights of resamples that are processed at once: about 100 MB of temporary arrays.
AT_ONCE = 2_000_000

NORMAL = NormalDist()

# The value that resampling alone gives a figure whose true value is 0.
NOISE = {"calibration_error": calibration_noise}


@dataclass(frozen=True)
class IntervalEstimate:
    """A figure and its interval; None if the figure is not defined.

    low, high: None if all resamples give the same value: the slides are too few, or too easy, for an interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


def with_intervals(
    table: Table, groups: Sequence[str], figures: dict[str, Figure], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, IntervalEstimate]:
    """Return each figure of the table with its interval; without one if there is a single group.

    groups: (n,) the group of each slide.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    group_count = len(names)
    values = {name: float(figure(table, table.ones)[0]) for name, figure in figures.items()}
    if group_count < 2:
        return {name: IntervalEstimate(_number(value)) for name, value in values.items()}
    rng = np.random.default_rng(seed)
    noise = {_noise_of(name): NOISE[name] for name in figures if name in NOISE}
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*figures, *noise)}
    size = max(1, AT_ONCE // len(table.labels))
    for start in range(0, resamples, size):
        counts = rng.multinomial(group_count, np.full(group_count, 1 / group_count), min(size, resamples - start))
        weights = counts[:, group].astype(np.float64)
        for name, figure in {**figures, **noise}.items():
            drawn[name].append(figure(table, weights))
    resampled = {name: np.concatenate(values) for name, values in drawn.items()}
    return {
        name: _interval(values[name], resampled[name], group_count, resampled.get(_noise_of(name))) for name in figures
    }


def _noise_of(name: str) -> str:
    return f"{name} by resampling alone"


def _interval(
    value: float, drawn: NDArray[np.float64], groups: int, noise: NDArray[np.float64] | None
) -> IntervalEstimate:
    # A resample without slides of some class may not define the figure.
    drawn = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or not len(drawn) or np.ptp(drawn) < 1e-12:
        return IntervalEstimate(_number(value))
    below = (np.count_nonzero(drawn < value) + np.count_nonzero(drawn == value) / 2) / len(drawn)
    shift = 2 * NORMAL.inv_cdf(min(max(below, 1 / len(drawn)), 1 - 1 / len(drawn)))
    reach = t_quantile((1 + LEVEL) / 2, groups - 1) * math.sqrt(groups / (groups - 1))
    shifts = (shift,) if noise is None else (shift, 0.0)
    ends = np.quantile(drawn, [NORMAL.cdf(s + side * reach) for s in shifts for side in (-1, 1)])
    low, high = min(float(ends.min()), value), max(float(ends.max()), value)
    return IntervalEstimate(value, 0.0 if noise is not None and value <= np.quantile(noise, LEVEL) else low, high)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
