"""Every sample that a scheme can draw from a small map, with its weights and its probability."""

from collections.abc import Iterator
from itertools import pairwise, permutations, product

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.murthy_weights import murthy_weights
from ats_cli.sampling.samplers import inclusion
from ats_cli.sampling.samplers.systematic import systematic
from ats_cli.sampling.samplers.without_replacement import des_raj_weights

Sample = tuple[NDArray[np.int64], NDArray[np.float64], float]


def without_replacement_samples(attention: NDArray[np.float64], tiles: int) -> Iterator[Sample]:
    """Every ordered sample without replacement, weighed by Des Raj."""
    for order in permutations(np.flatnonzero(attention), tiles):
        drawn = np.array(order)
        left = 1 - np.concatenate([[0.0], np.cumsum(attention[drawn])[:-1]])
        yield drawn, des_raj_weights(attention[drawn]), float(np.prod(attention[drawn] / left))


def murthy_samples(attention: NDArray[np.float64], tiles: int) -> Iterator[Sample]:
    """The same samples, weighed by Murthy."""
    for drawn, _, probability in without_replacement_samples(attention, tiles):
        yield drawn, murthy_weights(attention[drawn]), probability


def with_replacement_samples(attention: NDArray[np.float64], tiles: int) -> Iterator[Sample]:
    """Every ordered sample with replacement; each draw counts 1/tiles."""
    for order in product(np.flatnonzero(attention), repeat=tiles):
        drawn = np.array(order)
        yield drawn, np.full(tiles, 1 / tiles), float(np.prod(attention[drawn]))


def systematic_samples(attention: NDArray[np.float64], tiles: int, order: NDArray[np.int64]) -> Iterator[Sample]:
    """Every systematic sample along `order`: the draw is constant in the start between its breakpoints."""
    lam = inclusion.threshold(attention, tiles)
    along = attention[order]
    random = np.where(along >= lam * inclusion.ALMOST_CERTAIN, 0, along)
    inside = np.cumsum(random) / lam % 1
    edges = np.unique(np.concatenate([[0.0, 1.0], inside]))
    for low, high in pairwise(edges):
        if high - low > 1e-14:
            yield *systematic(attention, tiles, order, (low + high) / 2), float(high - low)
