"""A race over more positions than fit in memory: logits come in blocks, only the first arrivals are kept.

Position k arrives at e_k / a_k. Without the normaliser of a_k = exp(logit_k - log Z), log e_k - logit_k gives the same
order, so unnormalised logits do; log Z is summed up along the way and gives the attention of the few in the end.

Notable here: the noise of a position depends on the seed and the position alone. Each takes one step of a generator
that can be wound forward, so that neither the size of the blocks nor who feeds them changes the draw, and n tiles
are the first n of any m > n.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import Sampler

Floats = NDArray[np.float64]

# Logits worked on at a time: temporaries of a few MB, whatever the size of a block.
PIECE = 1 << 18


def log_noise(seed: int, start: int, count: int) -> Floats:
    """log e_k of the positions start .. start + count - 1, for e_k standard exponential.

    float64 throughout: in float32, noise that is exactly 0 turns up once in some ten million positions and wins the
    race whatever the attention.
    """
    bits = np.random.PCG64(seed)
    bits.advance(start)
    uniform = np.random.Generator(bits).random(count)
    # e = -log(1 - u). An exact 0 (once in 10^16) would win against anything: take the least e there is instead.
    exponential = np.maximum(-np.log1p(-uniform), 2.0**-54)
    return np.asarray(np.log(exponential))


class StreamedRace:
    """The first `tiles` arrivals among all positions fed so far. Memory does not grow with the positions.

    `seed`: of the noise, a non-negative integer (`slide_seed`). `sampler`: nested; it weighs the tiles.
    """

    def __init__(self, tiles: int, seed: int, sampler: Sampler) -> None:
        if tiles < 1:
            raise ValueError(f"at least one tile must be drawn, not {tiles}")
        self.tiles, self.seed, self._sampler = tiles, seed, sampler
        self.fed = 0
        # Positions that can be drawn at all: logit above -inf.
        self.candidates = 0
        self._keys, self._logits = np.empty(0), np.empty(0)
        self._positions = np.empty(0, np.int64)
        self._largest, self._total = -np.inf, 0.0

    @property
    def log_z(self) -> float:
        """log of the sum of exp(logit) over all positions fed; -inf before any has attention."""
        return float(self._largest + np.log(self._total)) if self.candidates else -np.inf

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
        keys = log_noise(self.seed, self.fed, len(logits)) - logits
        # All that cannot be among the first is left out before anything is sorted.
        slowest = self._keys[-1] if len(self._keys) == self.tiles else np.inf
        near = np.flatnonzero(keys < slowest)
        if len(near):
            keys = np.concatenate([self._keys, keys[near]])
            first = np.argpartition(keys, min(self.tiles, len(keys)) - 1)[: self.tiles]
            first = first[np.argsort(keys[first])]
            self._keys = keys[first]
            self._positions = np.concatenate([self._positions, self.fed + near])[first]
            self._logits = np.concatenate([self._logits, logits[near]])[first]
        if highest > -np.inf:
            largest = max(self._largest, highest)
            before = self._total * np.exp(self._largest - largest) if self.candidates else 0.0
            self._total = float(before + np.exp(logits - largest).sum())
            self._largest = largest
            self.candidates += int(np.count_nonzero(logits > -np.inf))
        self.fed += len(logits)

    def draw(self, tiles: int | None = None) -> Draw:
        """The draw so far, in order of arrival; of the first `tiles` if given.

        Raises ValueError when no position has attention, or for more tiles than the race holds.
        """
        tiles = self.tiles if tiles is None else tiles
        if not 1 <= tiles <= self.tiles:
            raise ValueError(f"between 1 and {self.tiles} tiles can be drawn, not {tiles}")
        if not self.candidates:
            raise ValueError("no position has attention")
        attention = np.exp(self._logits[:tiles] - self.log_z)
        return self._sampler.prefix(self._positions[:tiles], attention, complete=tiles >= self.candidates)
