"""An exponential race, and the samplers that draw by one: sampling without replacement, in the order of drawing.

A draw of n is the beginning of a draw of m > n with the same generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import StandardError, Stream
from ats_cli.sampling.streams.streamed_race import StreamedRace

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def race(attention: Floats, tiles: int, rng: np.random.Generator) -> Indices:
    """Return the first `tiles` arrivals of an exponential race with rates `attention`, in order.

    This is successive sampling without replacement (Efraimidis and Spirakis 2006).
    """
    # float64: exact zeros of float32 exponentials would win the race with any attention.
    with np.errstate(over="ignore"):  # a denormal attention arrives at infinity
        arrival = rng.standard_exponential(len(attention)) / attention
    first = np.argpartition(arrival, tiles - 1)[:tiles]
    return first[np.argsort(arrival[first])]


@dataclass(frozen=True)
class RaceSampler:
    """A sampler that draws by a race: nested, and streamed. Its members differ in the weights.

    weights: attention (n,) in the order of drawing -> weights (n,), with which the estimate is unbiased.
    variance: (attention, values (n, C)) -> unbiased variance (C,) of the estimate.
    unseen: attention -> the weight of one more tile of vanishing attention.
    """

    name: str
    summary: str
    weights: Callable[[Floats], Floats]
    variance: Callable[[Floats, Floats], Floats]
    unseen: Callable[[Floats], float]
    nested: bool = True
    independent: bool = False

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        candidates = np.flatnonzero(attention)
        first = candidates[race(attention[candidates], min(tiles, len(candidates)), rng)]
        return self.prefix(first, attention[first], complete=tiles >= len(candidates))

    def stream(self, tiles: int, seed: int) -> Stream | None:
        return StreamedRace(tiles, seed, self)

    def prefix(self, positions: Indices, attention: Floats, *, complete: bool) -> Draw:
        weights = attention.copy() if complete else self.weights(attention)
        return Draw(positions, attention, weights, np.ones(len(positions), np.int64), self.name)

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        return StandardError(np.sqrt(self.variance(draw.attention, values)), "unbiased", len(values) - 1)

    def unseen_weight(self, draw: Draw) -> float:
        return self.unseen(draw.attention)

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        return np.ones(len(draw.positions), np.bool_)
