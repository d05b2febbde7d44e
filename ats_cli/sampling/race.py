"""An exponential race: successive sampling without replacement, in the order of drawing.

A draw of n is the beginning of a draw of m > n with the same generator.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import Sampler

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def race(attention: Floats, tiles: int, rng: np.random.Generator) -> Indices:
    """The first `tiles` arrivals of an exponential race with rates `attention`: successive sampling without
    replacement, in the order of drawing (Efraimidis and Spirakis 2006)."""
    # float64 on purpose: float32 exponentials give exact zeros, which win the race whatever their attention.
    arrival = rng.standard_exponential(len(attention)) / attention
    first = np.argpartition(arrival, tiles - 1)[:tiles]
    return first[np.argsort(arrival[first])]


def draw_by_race(sampler: Sampler, attention: Floats, tiles: int, rng: np.random.Generator) -> Draw:
    """The first `tiles` arrivals among the positions with attention, (K,), weighed by a nested sampler."""
    candidates = np.flatnonzero(attention)
    first = candidates[race(attention[candidates], min(tiles, len(candidates)), rng)]
    return sampler.prefix(first, attention[first], complete=tiles >= len(candidates))
