"""The ordered pivotal method: fixed size, exact inclusion probabilities, spread along a curve.

Deville and Tillé (1998): the first two undecided units along the curve compete in a duel. Probability is moved from one
to the other until one is decided (in or out); the other competes with the next unit. Neighbours compete, so the sample
is spread over the curve. Every duel is random (a systematic draw uses one random number in all), so the variance can be
estimated.

K duels are not needed. Cut the cumulated probabilities at every whole number (Chauvet 2012, "On a characterization of
ordered pivotal sampling"). Between two cuts, the duels are equivalent to one choice in proportion to probability: the
champion. It competes with the unit across the next cut; one of the two is drawn, and the other takes the part of the
crossing unit in the next stretch. So n champions and n duels suffice.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.differences import FIRST, MIN_TILES_FOR_THIRD, THIRD, difference_variance
from ats_cli.sampling.draw import Draw, all_positions
from ats_cli.sampling.hilbert import hilbert_order
from ats_cli.sampling.sampler import NO_ESTIMATE, StandardError, Stream
from ats_cli.sampling.samplers.inclusion import Floats, Indices, certain_and_rest

NO_UNIT = -1


def pivotal(attention: Floats, tiles: int, order: Indices, rng: np.random.Generator) -> tuple[Indices, Floats]:
    """Return (positions, weights) of `tiles` < K distinct draws along `order`, in the order of the curve.

    Inclusion probabilities and weights are those of a systematic draw: atoms with a >= lambda are always drawn, with
    weight a; the others with probability a / lambda and weight lambda.
    """
    along, certain, cumulative, remaining = certain_and_rest(attention, tiles, order)
    picked = duels(cumulative, rng.random(remaining), rng.random(remaining)) if remaining else np.empty(0, np.int64)
    lam = cumulative[-1] / remaining if remaining else 0.0
    drawn = np.sort(np.concatenate([np.flatnonzero(certain), picked]))
    return order[drawn], np.where(certain[drawn], along[drawn], lam)


def duels(cumulative: Floats, choice: Floats, duel: Floats) -> Indices:
    """Return the m units drawn from probabilities cumulated along the curve, (K,), in any unit.

    Every unit has less than the m-th part of the total. `choice`, `duel`: (m,), uniform in [0, 1), the only randomness.
    """
    remaining = len(choice)
    stretch = cumulative[-1] / remaining
    starts, cuts = stretch * np.arange(remaining), stretch * np.arange(1, remaining + 1)
    # The unit across each cut. Rounding may put the last cut past the end: it is the last unit with a probability.
    crossing = np.searchsorted(cumulative, cuts)
    crossing[-1] = np.searchsorted(cumulative, cumulative[-1])
    before = np.where(crossing > 0, cumulative[crossing - 1], 0.0)

    # A champion is chosen between the start of the stretch and the crossing unit. A unit without probability is never
    # chosen: `right` skips it, and the point stays below the crossing unit.
    points = np.minimum(starts + choice * (before - starts), np.nextafter(before, 0))
    champions = np.searchsorted(cumulative, points, side="right")
    previous = np.concatenate([[NO_UNIT], crossing[:-1]])
    stands_in = champions <= previous

    # Duel of champion (1 - x) and crossing unit (x + y), x before and y behind the cut: the latter wins with
    # probability x / (1 - y).
    behind = np.maximum(cumulative[crossing] - cuts, 0.0)
    crossing_wins = duel * (stretch - behind) < cuts - before

    drawn = np.empty(remaining, np.int64)
    loser = NO_UNIT
    for j in range(remaining):
        champion = loser if stands_in[j] else champions[j]
        drawn[j], loser = (crossing[j], champion) if crossing_wins[j] else (champion, crossing[j])
    return drawn


class Pivotal:
    """The default of `ats predict`."""

    name, summary, nested = "pivotal", "spread along a curve, with a standard error", False
    independent = False

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        if tiles >= np.count_nonzero(attention):
            return all_positions(attention, self.name)
        drawn, weights = pivotal(attention, tiles, hilbert_order(*shape), rng)
        return Draw(drawn, attention[drawn], weights, np.ones(len(drawn), np.int64), self.name)

    def stream(self, tiles: int, seed: int) -> Stream | None:
        return None

    def prefix(self, positions: Indices, attention: Floats, *, complete: bool) -> Draw:
        raise ValueError("a pivotal draw is not nested")

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        random = self.random_tiles(draw)
        count = np.count_nonzero(random)
        if count < 2:
            return NO_ESTIMATE
        out = 1 - draw.attention[random] / draw.weights[random]
        squares, df = difference_variance(out, values[random], THIRD if count >= MIN_TILES_FOR_THIRD else FIRST)
        return StandardError(np.sqrt(draw.weights[random][0] ** 2 * squares), "approximate", df)

    def unseen_weight(self, draw: Draw) -> float:
        random = self.random_tiles(draw)
        return float(draw.weights[random][0]) if random.any() else 0.0

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        # The weight of a certain atom is its attention, that of a random one is lambda > attention.
        return np.asarray(draw.weights > draw.attention)


SAMPLER = Pivotal()
