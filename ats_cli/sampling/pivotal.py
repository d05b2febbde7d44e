"""The ordered pivotal method: fixed size, exact inclusion probabilities, spread along a curve.

Deville and Tillé (1998): walk along the curve; the first two units whose fate is open duel, the loser's probability
goes to the winner until one of them is decided (in or out), the other goes on to the next. Neighbours compete, so
the sample is spread; but chance enters at every duel, not once as in a systematic draw, which is why its variance
can be estimated.

Notable here: K duels are not needed. Cut the cumulated probabilities at every whole number (Chauvet 2012, "On a
characterization of ordered pivotal sampling"). Between two cuts, the duels amount to one choice in proportion to
probability: the champion. It then duels the unit that lies across the next cut; one of the two is drawn, and the
other stands in the next stretch for what the crossing unit has there. So n champions and n duels do.
"""

import numpy as np

from ats_cli.sampling.schemes import Floats, Indices, certain_and_rest

NOBODY = -1


def pivotal(attention: Floats, tiles: int, order: Indices, rng: np.random.Generator) -> tuple[Indices, Floats]:
    """`tiles` < K distinct draws with the inclusion probabilities and weights of `schemes.systematic`, along `order`.

    Atoms with a >= lambda are always in, with weight a; the others with probability a / lambda and weight lambda.
    The result is in the order of the curve.
    """
    along, certain, cumulative, many = certain_and_rest(attention, tiles, order)
    picked = duels(cumulative, rng.random(many), rng.random(many)) if many else np.empty(0, np.int64)
    lam = cumulative[-1] / many if many else 0.0
    drawn = np.sort(np.concatenate([np.flatnonzero(certain), picked]))
    return order[drawn], np.where(certain[drawn], along[drawn], lam)


def duels(cumulative: Floats, choice: Floats, chance: Floats) -> Indices:
    """The m units drawn from probabilities cumulated along the curve, (K,), in any unit of measure.

    Every unit has less than the m-th part of the total. `choice` and `chance`, (m,), uniform in [0, 1): the only
    randomness.
    """
    many = len(choice)
    stretch = cumulative[-1] / many
    starts, cuts = stretch * np.arange(many), stretch * np.arange(1, many + 1)
    # The unit across each cut. Rounding may put the last cut past the end: it is the last unit with a probability.
    crossing = np.searchsorted(cumulative, cuts)
    crossing[-1] = np.searchsorted(cumulative, cumulative[-1])
    before = np.where(crossing > 0, cumulative[crossing - 1], 0.0)

    # A champion is chosen among what lies between the start of the stretch and the crossing unit. A unit without
    # probability is never met: `right` passes over it, and the point stays below the crossing unit.
    points = np.minimum(starts + choice * (before - starts), np.nextafter(before, 0))
    champions = np.searchsorted(cumulative, points, side="right")
    previous = np.concatenate([[NOBODY], crossing[:-1]])
    stands_in = champions <= previous

    # Duel of champion (1 - x) and crossing unit (x + y), x before and y behind the cut: the latter wins x / (1 - y).
    behind = np.maximum(cumulative[crossing] - cuts, 0.0)
    crossing_wins = chance * (stretch - behind) < cuts - before

    drawn = np.empty(many, np.int64)
    loser = NOBODY
    for j in range(many):
        champion = loser if stands_in[j] else champions[j]
        drawn[j], loser = (crossing[j], champion) if crossing_wins[j] else (champion, crossing[j])
    return drawn
