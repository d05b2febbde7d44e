"""Logits that arrive in blocks, in the order of the positions: the part that all streamed draws share."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from ats_cli.sampling.draw import Draw

Floats = NDArray[np.float64]

# Logits processed at a time: temporary arrays of a few MB for blocks of any size.
PIECE = 1 << 18


class LogitStream(ABC):
    """Base of streamed draws of `tiles` tiles. `fed`: how many positions have been added."""

    def __init__(self, tiles: int) -> None:
        if tiles < 1:
            raise ValueError(f"at least one tile must be drawn, not {tiles}")
        self.tiles, self.fed = tiles, 0

    def feed(self, logits: NDArray[np.floating]) -> None:
        """Add the next positions, in order: unnormalised logits of any shape and float type; -inf is never drawn.

        Raises ValueError for NaN or +inf.
        """
        flat = logits.reshape(-1)
        for start in range(0, len(flat), PIECE):
            piece = np.asarray(flat[start : start + PIECE], np.float64)
            highest = float(piece.max())
            if not highest < np.inf:
                at = f"positions {self.fed} to {self.fed + len(piece) - 1}"
                raise ValueError(f"logits must be numbers or -inf ({at})")
            if highest > -np.inf:
                self._add(piece, highest)
            self.fed += len(piece)

    @abstractmethod
    def _add(self, logits: Floats, highest: float) -> None:
        """Add positions, the first of which is number `fed`. `highest`: the largest of their logits, finite."""

    @abstractmethod
    def draw(self) -> Draw:
        """Return the draw so far. Raises ValueError if no position has attention."""
