"""Independent draws over more positions than fit in memory: logits come in blocks, n reservoirs hold one position each.

Let T be the attention summed up so far, in any unit. A draw with replacement is a point uniform on [0, T]: it stays
where it is while T grows to T', or, with probability 1 - T / T', moves to a point between the two. So the moves of one
draw are points of a Poisson process over log T with rate 1; those of n draws one with rate n, each move being that of
any draw alike. All moves are thus one random sequence, whatever the positions and whatever the blocks, and a draw
moves some log(T_end / T_start) times only.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Logits worked on at a time, and moves made ready at a time.
PIECE, MOVES = 1 << 18, 1 << 12


class StreamedReplacement:
    """`tiles` independent draws among all positions fed so far. Memory does not grow with the positions.

    `seed`: of the moves, a non-negative integer (`slide_seed`). `sampler`: the name that the draw carries.
    """

    def __init__(self, tiles: int, seed: int, sampler: str) -> None:
        if tiles < 1:
            raise ValueError(f"at least one tile must be drawn, not {tiles}")
        self.tiles, self._sampler = tiles, sampler
        self.fed = 0
        # log T, in the unit exp(0) of the logits; -inf before any position has attention.
        self.log_z = -np.inf
        self._rng = np.random.default_rng(seed)
        self._positions, self._logits = np.zeros(tiles, np.int64), np.full(tiles, -np.inf)
        # Moves to come, in order: log T at each, and the draw that moves.
        self._at, self._who = np.empty(0), np.empty(0, np.int64)

    def feed(self, logits: NDArray[np.floating]) -> None:
        """Take in the next positions, in order: unnormalised logits of any shape and float type; -inf is never drawn.

        Raises ValueError for NaN or +inf.
        """
        flat = logits.reshape(-1)
        for start in range(0, len(flat), PIECE):
            self._feed_piece(np.asarray(flat[start : start + PIECE], np.float64))

    def _feed_piece(self, logits: Floats) -> None:
        highest = float(logits.max())
        if not highest < np.inf:
            raise ValueError(f"logits must be numbers or -inf (positions {self.fed} to {self.fed + len(logits) - 1})")
        if highest > -np.inf:
            unit = max(highest, self.log_z)
            mass = np.exp(self.log_z - unit) + np.cumsum(np.exp(logits - unit))
            if self.log_z == -np.inf:
                # All draws begin on the first position there is.
                first = int(np.argmax(mass > 0))
                self._positions[:], self._logits[:] = self.fed + first, logits[first]
                self._make_ready(float(np.log(mass[first]) + unit))
            self.log_z = float(np.log(mass[-1]) + unit)
            while self._at[0] < self.log_z:
                now = np.searchsorted(self._at, self.log_z)
                # Never on a position without attention, nor, by rounding, behind the last.
                there = np.searchsorted(mass, np.minimum(np.exp(self._at[:now] - unit), mass[-1]))
                # Of several moves of one draw, the last counts.
                self._positions[self._who[:now]] = self.fed + there
                self._logits[self._who[:now]] = logits[there]
                last = float(self._at[-1])
                self._at, self._who = self._at[now:], self._who[now:]
                if not len(self._at):
                    self._make_ready(last)
        self.fed += len(logits)

    def _make_ready(self, start: float) -> None:
        self._at = start + np.cumsum(self._rng.standard_exponential(MOVES)) / self.tiles
        self._who = self._rng.integers(self.tiles, size=MOVES)

    def draw(self) -> Draw:
        """The draw so far. Raises ValueError when no position has attention."""
        if self.log_z == -np.inf:
            raise ValueError("no position has attention")
        weights = np.full(self.tiles, 1 / self.tiles)
        return merge_repeats(self._positions, np.exp(self._logits - self.log_z), weights, self._sampler)


def merge_repeats(drawn: Indices, attention: Floats, weights: Floats, sampler: str) -> Draw:
    """Independent draws, (n,) each, as a Draw: a tile drawn twice is read once and counts twice."""
    positions, first, inverse, draws = np.unique(drawn, return_index=True, return_inverse=True, return_counts=True)
    summed = np.zeros(len(positions))
    np.add.at(summed, inverse, weights)
    order = np.argsort(first)
    once = first[order]
    counts = draws[order].astype(np.int64)
    return Draw(drawn[once], attention[once], summed[order], counts, sampler, replacement=True)
