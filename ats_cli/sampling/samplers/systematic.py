"""A systematic draw along a Hilbert curve: the least variance, without an unbiased estimate of it."""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw, all_positions
from ats_cli.sampling.hilbert import hilbert_order
from ats_cli.sampling.sampler import NO_ESTIMATE, StandardError, Stream
from ats_cli.sampling.samplers.inclusion import Floats, Indices, certain_and_rest


def systematic(attention: Floats, tiles: int, order: Indices, start: float) -> tuple[Indices, Floats]:
    """Return (positions, weights) of `tiles` < K distinct draws: certain atoms, and a systematic draw of the others.

    `order` is a permutation of the K indices (a curve over the slide); `start`, uniform in [0, 1), is the only
    randomness. Atoms with a >= lambda are always drawn, with weight a; the others with probability a / lambda and
    weight lambda. Positions without attention are never drawn; there must be more than `tiles` with attention.
    """
    along, certain, cumulative, remaining = certain_and_rest(attention, tiles, order)
    if remaining:
        step = cumulative[-1] / remaining
        # Rounding may put the last point on the end of the last interval.
        last = np.searchsorted(cumulative, cumulative[-1])
        picked = np.minimum(np.searchsorted(cumulative, (start + np.arange(remaining)) * step, side="right"), last)
    else:
        step, picked = 0.0, np.empty(0, np.int64)
    drawn = np.sort(np.concatenate([np.flatnonzero(certain), picked]))
    return order[drawn], np.where(certain[drawn], along[drawn], step)


class Systematic:
    """The default of training."""

    name, summary, nested = "systematic", "spread along a curve, one random start; no standard error", False
    independent = False

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        if tiles >= np.count_nonzero(attention):
            return all_positions(attention, self.name)
        drawn, weights = systematic(attention, tiles, hilbert_order(*shape), rng.random())
        return Draw(drawn, attention[drawn], weights, np.ones(len(drawn), np.int64), self.name)

    def stream(self, tiles: int, seed: int) -> Stream | None:
        return None

    def prefix(self, positions: Indices, attention: Floats, *, complete: bool) -> Draw:
        raise ValueError("a systematic draw is not nested")

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        return NO_ESTIMATE

    def unseen_weight(self, draw: Draw) -> float:
        random = self.random_tiles(draw)
        return float(draw.weights[random][0]) if random.any() else 0.0

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        return np.asarray(draw.weights > draw.attention)


SAMPLER = Systematic()
