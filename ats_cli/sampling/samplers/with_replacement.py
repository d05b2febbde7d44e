"""Independent draws. A position that is drawn twice is read once and counts twice."""

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw
from ats_cli.sampling.sampler import StandardError, Stream
from ats_cli.sampling.streams.streamed_replacement import Floats, Indices, StreamedReplacement, merge_repeats


def with_replacement(attention: Floats, tiles: int, rng: np.random.Generator) -> tuple[Indices, Floats]:
    """Return (indices, weights) of `tiles` independent draws; indices may repeat; every weight is 1 / tiles."""
    cumulative = np.cumsum(attention)
    drawn = np.searchsorted(cumulative, rng.random(tiles) * cumulative[-1], side="right")
    return np.minimum(drawn, len(attention) - 1), np.full(tiles, 1 / tiles)


class WithReplacement:
    name, summary, nested = "with-replacement", "independent draws", False
    independent = True

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        candidates = np.flatnonzero(attention)
        drawn, weights = with_replacement(attention[candidates], tiles, rng)
        positions = candidates[drawn]
        return merge_repeats(positions, attention[positions], weights, self.name)

    def stream(self, tiles: int, seed: int) -> Stream | None:
        return StreamedReplacement(tiles, seed, self.name)

    def prefix(self, positions: Indices, attention: Floats, *, complete: bool) -> Draw:
        raise ValueError("a draw with replacement is not nested")

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        df = int(draw.draws.sum()) - 1
        variance = draw.draws @ (values - draw.weights @ values) ** 2 / (df * (df + 1))
        return StandardError(np.sqrt(variance), "unbiased", df)

    def unseen_weight(self, draw: Draw) -> float:
        return 1 / int(draw.draws.sum())

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        return np.ones(len(draw.positions), np.bool_)


SAMPLER = WithReplacement()
