"""An exponential race, weighed by Murthy's estimator: nested, streamed, and never worse than the paper's."""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.murthy_weights import murthy_variance, murthy_weights
from ats_cli.sampling.race import Floats, Indices, draw_by_race
from ats_cli.sampling.sampler import StandardError, Stream
from ats_cli.sampling.streamed_race import StreamedRace


class Murthy:
    """What `--adaptive` and `--extend` draw by."""

    name, summary, nested = "murthy", "in race order: can stop early and be extended", True

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        return draw_by_race(self, attention, tiles, rng)

    def stream(self, tiles: int, seed: int) -> Stream | None:
        return StreamedRace(tiles, seed, self)

    def prefix(self, positions: Indices, attention: Floats, *, complete: bool) -> Draw:
        weights = attention.copy() if complete else murthy_weights(attention)
        return Draw(positions, attention, weights, np.ones(len(positions), np.int64), self.name)

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        return StandardError(np.sqrt(murthy_variance(draw.attention, values)), "unbiased", len(values) - 1)

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        return np.ones(len(draw.positions), np.bool_)


SAMPLER = Murthy()
