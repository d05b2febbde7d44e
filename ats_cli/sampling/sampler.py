"""The protocol of samplers: draws, weights and standard errors."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw

Floats = NDArray[np.float64]


class StandardError(NamedTuple):
    """`se`: in the shape of one tile's values, or None if the draw has no estimate of its error.

    `kind`: "unbiased" if the expected square is the squared error, "approximate" if nearly, None without `se`.
    `df`: degrees of freedom for a t quantile: an interval is estimate +- t(df) * se. None if there is no `se`, or if
    it is 0 because everything was drawn. Whole numbers except by `pivotal`.
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
    `independent`: tiles are drawn independently of each other, so a covariance about the draw's own mean becomes
    unbiased by n / (n - 1).
    """

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str:
        """A few words for help pages."""
        ...

    @property
    def nested(self) -> bool: ...
    @property
    def independent(self) -> bool: ...

    def draw(self, attention: Floats, shape: tuple[int, int], tiles: int, rng: np.random.Generator) -> Draw:
        """Draw `tiles` positions of a (rows, cols) map, given its attention (rows * cols,), summing to 1.

        Positions without attention are never drawn. Without replacement, `tiles` may exceed the number of positions
        with attention: all are then drawn, with their attention as weight.
        """
        ...

    def stream(self, tiles: int, seed: int) -> Stream | None:
        """Return the same draw over logits in blocks, in memory that does not grow; None if it needs the whole map."""
        ...

    def prefix(self, positions: NDArray[np.int64], attention: Floats, *, complete: bool) -> Draw:
        """Return the draw of these first tiles, (n,) each in order of drawing; nested samplers only.

        `complete`: whether they are all positions with attention.
        """
        ...

    def standard_error(self, draw: Draw, values: Floats) -> StandardError:
        """Return the standard error (C,) of draw.weights @ values, (n, C); for n >= 2 and a draw that is not exact."""
        ...

    def unseen_weight(self, draw: Draw) -> float:
        """Return the weight that one more tile of vanishing attention would have, for a draw that is not exact."""
        ...

    def random_tiles(self, draw: Draw) -> NDArray[np.bool_]:
        """Return which tiles of a draw, (n,), were drawn at random, not with certainty."""
        ...
