"""Where there is tissue, by fixed thresholds: a crop or a strip of a view gives what the whole gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DENSITY = 0.08
"""Optical density, -log10(grey / 255), above which a place is tissue: darker than 83 % of white."""
SATURATION = 0.08
"""(max - min) / 255 of the colours above which a place is tissue, however pale."""
UNSCANNED = 8
"""At or below this in all colours, a pixel was not scanned."""


def tissue_mask(view: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True where a view (rows, cols, 3) uint8 shows tissue; (rows, cols) bool.

    The rule, on the mean of each 3 x 3 neighbourhood (what exists of it, black unscanned pixels left out):
    optical density above `DENSITY`, or colour above `SATURATION`. A black unscanned pixel itself is no tissue.
    Nothing is estimated from the view, so the answer at a pixel depends on its neighbourhood alone.
    """
    # In integers, and channel by channel: this is looked at for every pixel of every view.
    red, green, blue = (view[..., c] for c in range(3))
    scanned: NDArray[np.bool_] = np.maximum(np.maximum(red, green), blue) > UNSCANNED
    seen = view if scanned.all() else np.where(scanned[..., None], view, np.uint8(0))
    weight = _sum3(scanned.astype(np.uint16)).astype(np.float32)
    sums = _sum3(seen.astype(np.uint16))
    reds, greens, blues = (sums[..., c] for c in range(3))
    dense = reds + greens + blues < np.float32(3 * 255 * 10**-DENSITY) * weight
    spread = np.maximum(np.maximum(reds, greens), blues) - np.minimum(np.minimum(reds, greens), blues)
    return scanned & (dense | (spread > np.float32(255 * SATURATION) * weight))


def _sum3(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The sum of each 3 x 3 neighbourhood of (rows, cols, ...); beyond the edge there is nothing."""
    rows = values.copy()
    rows[1:] += values[:-1]
    rows[:-1] += values[1:]
    total = rows.copy()
    total[:, 1:] += rows[:, :-1]
    total[:, :-1] += rows[:, 1:]
    return total
