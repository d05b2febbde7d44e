"""When to stop reading: a test by betting that may be looked at after every tile.

Read tiles in race order and one fact holds exactly. Given the tiles so far, the next is drawn with the attention
that is left, so its margin g (class c over class c') has the mean (E - A) / pm, where E is the margin over all
positions, A = sum of a_j g_j and pm = 1 - sum of a_j over the tiles so far. Under the null "E <= 0" that mean is at
most m = -A / pm. Bet a predictable stake l >= 0 that g is larger: the wealth prod(1 + l (g - m)) is then a
supermartingale, and under the null it reaches L at any time with probability at most 1/L (Ville 1939). The stakes are
those of Waudby-Smith and Ramdas (2024) for draws without replacement, here with unequal probabilities.

One null for every ordered pair of C classes, rejected at wealth (C - 1) / alpha. A class whose C - 1 nulls are all
rejected is settled. For a wrong class to be settled, its null against the best class, which is true, must be
rejected; there are C - 1 such nulls, so the decision differs from that of the full-attention model with probability
at most alpha, whenever one stops. It holds for the order of the races ("murthy", "without-replacement") alone.

A tile that cannot be read has a margin that nobody knows. Every test takes the least that it can be: its A is then no
larger than the true one, its m no smaller, and the wealth no more than what the true margin would have left. So it is
still a supermartingale under the null, whatever the tile shows, and the class is settled against all that it might.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# No stake may lose more than three quarters of the wealth on one tile.
BOLDEST = 0.75

# Attention left below this is none; what is then still open is decided by certainty alone.
NOTHING_LEFT = 1e-12
TINY = 1e-100

# What rounding may do to features of unit length computed in float32.
SLACK = 1e-5


def lowest_margins(weights: NDArray[np.floating], *, non_negative: bool = False) -> Floats:
    """The least that w_c . f - w_c' . f can be for features f of length at most 1: (C, C), from weights (C, D).

    `weights` are those that act on the features: the head's, times its scale. It is -|w_c - w_c'|; with
    `non_negative` features only the negative parts of w_c - w_c' count, and the bound is tighter.
    """
    w = np.asarray(weights, np.float64)
    difference = w[:, None] - w[None, :]
    if non_negative:
        difference = np.minimum(difference, 0)
    return np.asarray(-np.sqrt((difference**2).sum(-1)) * (1 + SLACK))


class Betting:
    """All pairs of C classes, tile by tile. `settled` is the class that won, or None while it is open.

    `lowest`: (C, C), a true lower bound of any tile's term of class c minus that of class c' (`lowest_margins`). The
    guarantee is only as good as this bound. `biases`: (C,), the part of the logits that no tile changes; the margins
    are sum_k a_k (z_kc - z_kc') + bias_c - bias_c'. `alpha`: the probability of settling on another class than the
    one with the largest logit over all positions.
    """

    def __init__(self, lowest: Floats, biases: NDArray[np.floating], alpha: float = 0.05) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        b = np.asarray(biases, np.float64)
        if len(b) < 2 or lowest.shape != (len(b), len(b)):
            raise ValueError(f"lowest must be (C, C) for C >= 2 classes, not {lowest.shape} for {len(b)}")
        self.tiles = 0
        self.settled: int | None = None
        self._bias = b[:, None] - b[None, :]
        self._lowest, highest = lowest, -lowest.T
        self._enough = np.log((len(b) - 1) / alpha)
        self._log_wealth = np.zeros_like(lowest)
        self._rejected = np.eye(len(b), dtype=bool)
        # Of the margins without bias: sum of a_j g_j, and a running mean and sum of squares about it. Both start from
        # one pretended tile in the middle of the range, a quarter of the range's width off.
        self._read = np.zeros_like(lowest)
        self._mean = (lowest + highest) / 2
        self._squares = ((highest - lowest) / 4) ** 2
        self._left = 1.0

    def update(self, terms: NDArray[np.floating] | None, attention: float) -> int | None:
        """Take in the next tile in race order: its terms of the logits, (C,), without bias, and its attention.

        None for a tile that cannot be read: it counts as the worst that it could be, for every pair of classes.
        Gives `settled`; once a class is settled, further tiles change nothing. Raises ValueError for a tile below
        the bound: then the bound was none.
        """
        if self.settled is not None:
            return self.settled
        g = self._lowest
        if terms is not None:
            z = np.asarray(terms, np.float64)
            g = z[:, None] - z[None, :]
        if np.any(g < self._lowest - 1e-9):
            raise ValueError("a tile's margin lies below its lowest possible value")

        if self._left > NOTHING_LEFT:
            # Before the tile is seen: the largest mean that the null allows, and the stake.
            null_mean = -(self._read + self._bias) / self._left
            ahead = self._mean - null_mean
            stake = ahead / (self._squares / (self.tiles + 1) + ahead**2 + TINY)
            stake = np.clip(stake, 0, BOLDEST / np.maximum(null_mean - self._lowest, TINY))
            self._log_wealth += np.where(self._rejected, 0, np.log1p(stake * (g - null_mean)))

        if terms is not None:  # of a tile that nobody saw nothing is learnt for the stakes to come
            self.tiles += 1
            self._squares += (g - self._mean) ** 2 * self.tiles / (self.tiles + 1)
            self._mean += (g - self._mean) / (self.tiles + 1)
        self._read += attention * g
        self._left = max(0.0, self._left - attention)
        # No chance is left where even the worst of all that was not read could not turn the margin.
        certain = self._read + self._bias + self._left * self._lowest > 1e-12
        self._rejected |= certain | (self._log_wealth >= self._enough)
        winners = np.flatnonzero(self._rejected.all(axis=1))
        if len(winners):
            self.settled = int(winners[0])
        return self.settled
