"""Made-up pixels for the tests of slides, and where real ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "slides"
FAULTS = Path(__file__).parents[1] / "data" / "faults"
"""Inputs that were read wrongly, each folder with the right values in its README."""


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise on a slope: every place differs from its neighbours, and no two regions are alike."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 80, height)[:, None, None]
    return (slope + rng.integers(0, 55, (height, width, 3))).astype(np.uint8)
