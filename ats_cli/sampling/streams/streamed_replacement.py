"""Independent draws over more positions than fit in memory: logits come in blocks, n reservoirs hold one position each.

Let T be the sum of the attention so far, in any unit. A draw with replacement is a uniform point on [0, T]. While T
grows to T', it stays, or with probability 1 - T / T' moves to a uniform point between T and T'. So the moves of a draw
are a Poisson process over log T with rate 1. Those of n draws are one with rate n, in which each move belongs to any
draw with the same probability. The moves are therefore one random sequence that does not depend on the positions or
the blocks, and a draw moves only about log(T_end / T_start) times.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.streams.logit_stream import LogitStream

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

# Moves that are generated at a time.
MOVES = 1 << 12


class StreamedReplacement(LogitStream):
    """`tiles` independent draws among all positions fed so far. Memory does not grow with the positions.

    seed: of the moves, a non-negative integer (`slide_seed`). sampler: its name, for the draw.
    """

    def __init__(self, tiles: int, seed: int, sampler: str) -> None:
        super().__init__(tiles)
        self._sampler = sampler
        # log T, in the unit exp(0) of the logits; -inf before any position has attention.
        self.log_z = -np.inf
        self._rng = np.random.default_rng(seed)
        self._positions, self._logits = np.zeros(tiles, np.int64), np.full(tiles, -np.inf)
        # Moves to come, in order: log T at each, and the draw that moves.
        self._at, self._who = np.empty(0), np.empty(0, np.int64)

    def _add(self, logits: Floats, highest: float) -> None:
        unit = max(highest, self.log_z)
        mass = np.exp(self.log_z - unit) + np.cumsum(np.exp(logits - unit))
        if self.log_z == -np.inf:
            # All draws begin on the first position with attention.
            first = int(np.argmax(mass > 0))
            self._positions[:], self._logits[:] = self.fed + first, logits[first]
            self._make_ready(float(np.log(mass[first]) + unit))
        self.log_z = float(np.log(mass[-1]) + unit)
        while self._at[0] < self.log_z:
            now = np.searchsorted(self._at, self.log_z)
            # Not on a position without attention nor, by rounding, beyond the last.
            there = np.searchsorted(mass, np.minimum(np.exp(self._at[:now] - unit), mass[-1]))
            # If one draw moves several times, the last move counts.
            self._positions[self._who[:now]] = self.fed + there
            self._logits[self._who[:now]] = logits[there]
            last = float(self._at[-1])
            self._at, self._who = self._at[now:], self._who[now:]
            if not len(self._at):
                self._make_ready(last)

    def _make_ready(self, start: float) -> None:
        self._at = start + np.cumsum(self._rng.standard_exponential(MOVES)) / self.tiles
        self._who = self._rng.integers(self.tiles, size=MOVES)

    def draw(self) -> Draw:
        """Return the draw so far. Raises ValueError if no position has attention."""
        if self.log_z == -np.inf:
            raise ValueError("no position has attention")
        weights = np.full(self.tiles, 1 / self.tiles)
        return merge_repeats(self._positions, np.exp(self._logits - self.log_z), weights, self._sampler)


def merge_repeats(drawn: Indices, attention: Floats, weights: Floats, sampler: str) -> Draw:
    """Return independent draws, (n,) each, as a Draw: a tile that is drawn twice is read once and counts twice."""
    positions, first, inverse, draws = np.unique(drawn, return_index=True, return_inverse=True, return_counts=True)
    summed = np.zeros(len(positions))
    np.add.at(summed, inverse, weights)
    order = np.argsort(first)
    once = first[order]
    counts = draws[order].astype(np.int64)
    return Draw(drawn[once], attention[once], summed[order], counts, sampler, replacement=True)
