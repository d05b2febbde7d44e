"""When to stop reading: a test by betting that may be evaluated after every tile.

Tiles are read in race order. Given the tiles so far, the next is drawn with probability proportional to its attention
among the rest, so its margin g (class c over class c') has the mean (E - A) / pm, where E is the margin over all
positions, A = sum of a_j g_j and pm = 1 - sum of a_j over the tiles so far. Under the null "E <= 0" that mean is at
most m = -A / pm. Bet a predictable stake l >= 0 that g is larger: the wealth prod(1 + l (g - m)) is then a
supermartingale, and under the null it reaches L at any time with probability at most 1/L (Ville 1939). The stakes are
those of Waudby-Smith and Ramdas (2024) for draws without replacement, here with unequal probabilities.

One null for every ordered pair of C classes, rejected at wealth (C - 1) / alpha. A class whose C - 1 nulls are all
rejected is settled. For a wrong class to be settled, its null against the best class, which is true, must be
rejected; there are C - 1 such nulls, so the decision differs from that of the full-attention model with probability
at most alpha, whenever one stops. This is valid only in race order (`murthy`, `without-replacement`).

The margin of an unreadable tile is unknown. Every test takes its least possible value: A is then no larger than the
true one, m no smaller, and the wealth no larger than with the true margin. So the wealth is still a supermartingale
under the null, and a class is settled for every margin that the tile could have.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# No stake may lose more than three quarters of the wealth on one tile.
BOLDEST = 0.75

# Remaining attention below this counts as 0; tests that are still open are then decided by certainty alone.
NOTHING_LEFT = 1e-12
TINY = 1e-100

# Tolerance for rounding of features of unit length in float32.
SLACK = 1e-5


def lowest_margins(weights: NDArray[np.floating], *, non_negative: bool = False) -> Floats:
    """Return the least values of w_c . f - w_c' . f for features f of length at most 1: (C, C), from weights (C, D).

    `weights`: the head's, times its scale. It is -|w_c - w_c'|; with
    `non_negative` features only the negative parts of w_c - w_c' count, and the bound is tighter.
    """
    w = np.asarray(weights, np.float64)
    difference = w[:, None] - w[None, :]
    if non_negative:
        difference = np.minimum(difference, 0)
    return np.asarray(-np.sqrt((difference**2).sum(-1)) * (1 + SLACK))


class Betting:
    """Tests all pairs of C classes, tile by tile. `settled`: the settled class, or None.

    `lowest`: (C, C), a true lower bound of any tile's term of class c minus that of class c' (`lowest_margins`); the
    guarantee needs this bound. `biases`: (C,), the part of the logits that does not depend on tiles; the margins are
    sum_k a_k (z_kc - z_kc') + bias_c - bias_c'. `alpha`: the probability of settling on another class than the one with
    the largest logit over all positions.
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
        # Of the margins without bias: sum of a_j g_j, running mean, and sum of squares about it. Mean and squares start
        # with one fictitious tile: the middle of the range, with a deviation of a quarter of its width.
        self._read = np.zeros_like(lowest)
        self._mean = (lowest + highest) / 2
        self._squares = ((highest - lowest) / 4) ** 2
        self._left = 1.0

    def update(self, terms: NDArray[np.floating] | None, attention: float) -> int | None:
        """Add the next tile in race order: its terms of the logits, (C,), without bias, and its attention.

        terms: None for an unreadable tile, which counts with its least possible margin for every pair of classes.
        Returns `settled`; once a class is settled, further tiles change nothing. Raises ValueError for a tile below
        the bound, which is then not valid.
        """
        if self.settled is not None:
            return self.settled
        g = self._lowest
        if terms is not None:
            z = np.asarray(terms, np.float64)
            g = z[:, None] - z[None, :]
        if np.any(g < self._lowest - 1e-9):
            raise ValueError("a tile's margin is below its lowest possible value")

        if self._left > NOTHING_LEFT:
            # Independent of the tile: the largest mean under the null, and the stake.
            null_mean = -(self._read + self._bias) / self._left
            ahead = self._mean - null_mean
            stake = ahead / (self._squares / (self.tiles + 1) + ahead**2 + TINY)
            stake = np.clip(stake, 0, BOLDEST / np.maximum(null_mean - self._lowest, TINY))
            self._log_wealth += np.where(self._rejected, 0, np.log1p(stake * (g - null_mean)))

        if terms is not None:  # an unreadable tile does not change later stakes
            self.tiles += 1
            self._squares += (g - self._mean) ** 2 * self.tiles / (self.tiles + 1)
            self._mean += (g - self._mean) / (self.tiles + 1)
        self._read += attention * g
        self._left = max(0.0, self._left - attention)
        # Certain: the margin stays positive even if all unread tiles have their least possible margin.
        certain = self._read + self._bias + self._left * self._lowest > 1e-12
        self._rejected |= certain | (self._log_wealth >= self._enough)
        winners = np.flatnonzero(self._rejected.all(axis=1))
        if len(winners):
            self.settled = int(winners[0])
        return self.settled
