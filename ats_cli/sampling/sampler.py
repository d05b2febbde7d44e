"""What a sampler is: how positions are drawn, what each counts for, and how sure the estimate is."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw

Floats = NDArray[np.float64]


class StandardError(NamedTuple):
    """`se`: the shape of one tile's values, or None when the draw has no estimate of its error.

    `kind`: "unbiased" when the squared error is exactly so on average, "approximate" when nearly, None without `se`.
    `df`: degrees of freedom for a t quantile: an interval is estimate +- t(df) * se. None when there is no `se`, or
    when it is 0 because everything was drawn. Whole numbers but for "pivotal".
    """

    se: Floats | None
    kind: Literal["unbiased", "approximate"] | None
    df: float | None = None


NO_ESTIMATE = StandardError(None, None)


class Stream(Protocol):
    """A draw over logits that arrive in blocks, in the order of the positions."""

    def feed(self, logits: NDArray[np.floating]) -> None:
        """Add the next positions: unnormalised logits of any shape; -inf is never drawn."""
        ...

    def draw(self) -> Draw: ...


class Sampler(Protocol):
    """One way to draw positions without bias: E[sum_i w_i h_i] = sum_k a_k h_k for every h.

    `nested`: the first n tiles of a draw are a draw of n tiles, so it can stop early, be extended and be truncated.
    """

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str:
        """A few words for help pages."""
        ...

    @property
    def nested(self) -> bool: ...

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        """Draw `tiles` of the positions of a (rows, cols) map, given its attention (rows * cols,), summing to 1.

        Positions without attention are never drawn. Without replacement, `tiles` may exceed those with some: all are
        then drawn, at their own attention.
        """
        ...

    def stream(self, tiles: int, seed: int) -> Stream | None:
        """Return the same draw over logits in blocks, in memory that does not grow; None if it needs the whole map."""
        ...

    def prefix(self, positions: NDArray[np.int64], attention: Floats, *, complete: bool) -> Draw:
        """Return the draw that these first tiles are, (n,) each in order of drawing; of nested samplers only.

        `complete`: no position with attention is left out.
        """
        ...

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        """Standard error (C,) of draw.weights @ values, (n, C), for a draw of two tiles or more that is not exact."""
        ...

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        """Which tiles of a draw, (n,), were drawn at random, not with certainty."""
        ...
