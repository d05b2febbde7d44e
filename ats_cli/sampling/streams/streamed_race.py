"""A race over more positions than fit in memory: logits come in blocks, only the first arrivals are stored.

Position k arrives at e_k / a_k with a_k = exp(logit_k - log Z). log e_k - logit_k gives the same order, so the race
needs no normalised logits. log Z is accumulated over the blocks and gives the attention of the first arrivals.

The noise of a position depends on the seed and the position only: each position takes one step of a generator that can
be advanced to any step. So the draw does not depend on the size of the blocks, and n tiles are the first n of any
m > n.
"""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import Sampler
from ats_cli.sampling.streams.logit_stream import LogitStream

Floats = NDArray[np.float64]


def log_noise(seed: int, start: int, count: int) -> Floats:
    """Return log e_k, e_k standard exponential, of the positions start to start + count - 1.

    All in float64: in float32, about one position in ten million has a noise of exactly 0, which wins the race with any
    attention.
    """
    bits = np.random.PCG64(seed)
    bits.advance(start)
    uniform = np.random.Generator(bits).random(count)
    # e = -log(1 - u). An exact 0 (once in 10^16) would win against all others: use the smallest other e instead.
    exponential = np.maximum(-np.log1p(-uniform), 2.0**-54)
    return np.asarray(np.log(exponential))


class StreamedRace(LogitStream):
    """The first `tiles` arrivals among all positions fed so far. Memory does not grow with the positions.

    seed: of the noise, a non-negative integer (`slide_seed`). sampler: a nested one, for the weights.
    """

    def __init__(self, tiles: int, seed: int, sampler: Sampler) -> None:
        super().__init__(tiles)
        self.seed, self._sampler = seed, sampler
        # Positions that can be drawn: those with a logit above -inf.
        self.candidates = 0
        self._keys, self._logits = np.empty(0), np.empty(0)
        self._positions = np.empty(0, np.int64)
        self._largest, self._total = -np.inf, 0.0

    @property
    def log_z(self) -> float:
        """The log of the sum of exp(logit) over all positions fed; -inf before any has attention."""
        return float(self._largest + np.log(self._total)) if self.candidates else -np.inf

    def _add(self, logits: Floats, highest: float) -> None:
        keys = log_noise(self.seed, self.fed, len(logits)) - logits
        # Leave out all that cannot be among the first before sorting.
        slowest = self._keys[-1] if len(self._keys) == self.tiles else np.inf
        near = np.flatnonzero(keys < slowest)
        if len(near):
            keys = np.concatenate([self._keys, keys[near]])
            first = np.argpartition(keys, min(self.tiles, len(keys)) - 1)[: self.tiles]
            first = first[np.argsort(keys[first])]
            self._keys = keys[first]
            self._positions = np.concatenate([self._positions, self.fed + near])[first]
            self._logits = np.concatenate([self._logits, logits[near]])[first]
        largest = max(self._largest, highest)
        before = self._total * np.exp(self._largest - largest) if self.candidates else 0.0
        self._total = float(before + np.exp(logits - largest).sum())
        self._largest = largest
        self.candidates += int(np.count_nonzero(logits > -np.inf))

    def draw(self, tiles: int | None = None) -> Draw:
        """Return the draw so far in order of arrival, of the first `tiles` if given.

        Raises ValueError if no position has attention, or for more tiles than the race has.
        """
        tiles = self.tiles if tiles is None else tiles
        if not 1 <= tiles <= self.tiles:
            raise ValueError(f"between 1 and {self.tiles} tiles can be drawn, not {tiles}")
        if not self.candidates:
            raise ValueError("no position has attention")
        attention = np.exp(self._logits[:tiles] - self.log_z)
        return self._sampler.prefix(self._positions[:tiles], attention, complete=tiles >= self.candidates)
