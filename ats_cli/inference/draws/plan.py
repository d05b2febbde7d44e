"""Which tiles of a slide are read: its attention, and a draw from it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.attention_pass import AttentionPass, StripTotals
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.nets.geometry import Geometry
from ats_cli.records import AttentionMap
from ats_cli.registry import EXHAUSTIVE, SAMPLERS
from ats_cli.sampling import Draw, StreamedRace, draw, slide_rng, slide_seed
from ats_cli.sampling.hilbert import hilbert_order


@dataclass(frozen=True)
class DrawPlan:
    """The tiles to read of one slide.

    geometry, grid: where positions and tiles are; (rows, cols) of positions.
    totals: sums over the slide's attention strips.
    draw: the drawn positions, in the order of reading.
    effective_positions: 1 / sum of squared attention.
    race: the race that the draw is the beginning of, if its sampler is nested.
    attention: the whole map, if the sampler needs it.
    """

    geometry: Geometry
    grid: tuple[int, int]
    totals: StripTotals
    draw: Draw
    effective_positions: float
    race: StreamedRace | None = None
    attention: AttentionMap | None = None

    def boxes(self) -> NDArray[np.float64]:
        """Return the tiles (n, 4): x, y, width, height in level-0 pixels."""
        return self.geometry.boxes(self.draw.positions, self.grid[1])

    def first(self, tiles: int) -> "DrawPlan":
        """Return the plan of a race that stopped after `tiles`; other plans are returned unchanged."""
        if self.race is None or tiles >= len(self.draw.positions):
            return self
        return replace(self, draw=self.race.draw(tiles))


def plan_draw(context: PredictionContext, options: DrawOptions) -> DrawPlan:
    """Compute a slide's attention and draw positions from it.

    Samplers that follow a curve need the whole map. The others read the logits strip by strip, in constant memory.
    """
    attention_pass = AttentionPass(context)
    if options.exhaustive:
        return _plan_every_position(attention_pass)
    tiles = options.tiles or context.model.spec.tiles
    sampler, identity = options.sampler_name, context.slide.identity
    geometry, grid = attention_pass.geometry, (attention_pass.rows, attention_pass.cols)
    stream = SAMPLERS[sampler].stream(tiles, slide_seed(options.seed, identity))
    if stream is None:
        attention, totals = attention_pass.attention()
        drawn = draw(attention.values, tiles, sampler, slide_rng(options.seed, identity))
        effective_positions = float(1 / np.square(attention.values).sum())
        return DrawPlan(geometry, grid, totals, drawn, effective_positions, attention=attention)
    totals, effective = StripTotals(), EffectivePositions()
    for strip in attention_pass.strips():
        totals.add(strip)
        stream.feed(strip.logits)
        effective.add(strip.logits)
    race = stream if isinstance(stream, StreamedRace) else None
    return DrawPlan(geometry, grid, totals, stream.draw(), effective.value, race)


def _plan_every_position(attention_pass: AttentionPass) -> DrawPlan:
    """Return all positions, each weighted by its own attention: the exact value that draws estimate.

    Positions follow the Hilbert curve, so tiles that share the file's own tiles are read together.
    """
    rows, cols = attention_pass.rows, attention_pass.cols
    attention_map, totals = attention_pass.attention()
    attention = attention_map.values.ravel()
    order = hilbert_order(rows, cols)
    positions = order[attention[order] > 0]
    drawn = attention[positions]
    draw_of_all = Draw(positions, drawn, drawn, np.ones(len(positions), np.int64), EXHAUSTIVE)
    effective = float(1 / np.square(drawn).sum())
    return DrawPlan(attention_pass.geometry, (rows, cols), totals, draw_of_all, effective, attention=attention_map)


class EffectivePositions:
    """Running 1 / sum of squared attention over logits that arrive in strips."""

    def __init__(self) -> None:
        self._max_logit, self._sum, self._sum_of_squares = -np.inf, 0.0, 0.0

    def add(self, logits: NDArray[np.floating]) -> None:
        max_logit = max(self._max_logit, float(logits.max()))
        if max_logit == -np.inf:
            return
        scale = np.exp(self._max_logit - max_logit)
        exponentials = np.exp(np.asarray(logits, np.float64) - max_logit)
        self._sum = self._sum * scale + exponentials.sum()
        self._sum_of_squares = self._sum_of_squares * scale**2 + np.square(exponentials).sum()
        self._max_logit = max_logit

    @property
    def value(self) -> float:
        return float(self._sum**2 / self._sum_of_squares)
