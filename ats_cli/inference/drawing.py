"""Which tiles of a slide are read: a look, and a draw from it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.look import Look, begin_look, strips, whole_map
from ats_cli.registry import EXHAUSTIVE, SAMPLERS
from ats_cli.sampling import Draw, StreamedRace, draw, slide_rng, slide_seed
from ats_cli.sampling.hilbert import hilbert_order
from ats_cli.slides import Slide
from ats_cli.zoo import LoadedModel


@dataclass(frozen=True)
class Drawing:
    """A draw over a slide. `effective_positions`: 1 / sum of squared attention. `race`: what a race may go on from."""

    look: Look
    draw: Draw
    effective_positions: float
    race: StreamedRace | None = None

    def boxes(self) -> NDArray[np.float64]:
        """Tiles (n, 4), x, y, width, height in level-0 pixels."""
        return self.look.geometry.boxes(self.draw.positions, self.look.cols)


def draw_on(slide: Slide, model: LoadedModel, tiles: int, sampler: str, seed: int, threads: int) -> Drawing:
    """Look at a slide and draw `tiles` of its positions.

    Schemes along a curve need the whole map; the others take the logits strip by strip and never hold it.
    """
    look = begin_look(slide, model)
    name = slide.identity
    stream = SAMPLERS[sampler].stream(tiles, slide_seed(seed, name))
    if stream is None:
        attention = whole_map(slide, model, look, threads)
        drawn = draw(attention, tiles, sampler, slide_rng(seed, name))
        return Drawing(look, drawn, float(1 / np.square(attention).sum()))
    spread = Spread()
    for logits in strips(slide, model, look, threads):
        stream.feed(logits)
        spread.feed(logits)
    race = stream if isinstance(stream, StreamedRace) else None
    return Drawing(look, stream.draw(), spread.effective_positions, race)


def every_position(slide: Slide, model: LoadedModel, threads: int) -> Drawing:
    """All positions, each at its own attention: what the draws estimate.

    Along the curve, so that tiles that share the file's own tiles are read together.
    """
    look = begin_look(slide, model)
    attention = whole_map(slide, model, look, threads).ravel()
    order = hilbert_order(look.rows, look.cols)
    positions = order[attention[order] > 0]
    at = attention[positions]
    everything = Draw(positions, at, at, np.ones(len(positions), np.int64), EXHAUSTIVE)
    return Drawing(look, everything, float(1 / np.square(at).sum()))


class Spread:
    """Running 1 / sum of squared attention, over logits that come in strips."""

    def __init__(self) -> None:
        self._largest, self._sum, self._squares = -np.inf, 0.0, 0.0

    def feed(self, logits: NDArray[np.floating]) -> None:
        largest = max(self._largest, float(logits.max()))
        if largest == -np.inf:
            return
        shrink = np.exp(self._largest - largest)
        exponentials = np.exp(np.asarray(logits, np.float64) - largest)
        self._sum = self._sum * shrink + exponentials.sum()
        self._squares = self._squares * shrink**2 + np.square(exponentials).sum()
        self._largest = largest

    @property
    def effective_positions(self) -> float:
        return float(self._sum**2 / self._squares)
