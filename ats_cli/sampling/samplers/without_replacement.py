"""The paper's sampler: an exponential race, weighed by Des Raj's estimator (Des Raj 1956)."""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.race import Floats, Indices, draw_by_race
from ats_cli.sampling.sampler import StandardError, Stream
from ats_cli.sampling.streamed_race import StreamedRace


def des_raj_weights(attention: Floats) -> Floats:
    """Weights of a sample drawn without replacement, given its attention in the order of drawing (Des Raj 1956).

    w_k = ((1 - sum_{j<k} a_j) + (n - 1 - k) a_k) / n: the mean of the n partial estimates
    t_k = sum_{j<k} a_j f_j + (1 - sum_{j<k} a_j) f_k. They sum to 1.
    """
    n = len(attention)
    before = np.cumsum(attention) - attention
    return (1 - before + (n - 1 - np.arange(n)) * attention) / n


def des_raj_variance(attention: Floats, f: Floats) -> Floats:
    """s^2 / n of the partial estimates t_k = sum_{j<k} a_j f_j + (1 - sum_{j<k} a_j) f_k, which are uncorrelated and
    of one mean (Des Raj 1956). (n,), (n, C) -> (C,)."""
    before = np.cumsum(attention) - attention
    shares = attention[:, None] * f
    partial = np.cumsum(shares, axis=0) - shares + (1 - before)[:, None] * f
    return np.asarray(partial.var(axis=0, ddof=1) / len(f))


class WithoutReplacement:
    name, summary, nested = "without-replacement", "in race order, the paper's weights", True

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        return draw_by_race(self, attention, tiles, rng)

    def stream(self, tiles: int, seed: int) -> Stream | None:
        return StreamedRace(tiles, seed, self)

    def prefix(self, positions: Indices, attention: Floats, *, complete: bool) -> Draw:
        weights = attention.copy() if complete else des_raj_weights(attention)
        return Draw(positions, attention, weights, np.ones(len(positions), np.int64), self.name)

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        return StandardError(np.sqrt(des_raj_variance(draw.attention, values)), "unbiased", len(values) - 1)

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        return np.ones(len(draw.positions), np.bool_)


SAMPLER = WithoutReplacement()
