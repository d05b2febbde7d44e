"""The tissue mask of a view, by fixed thresholds: a crop of a view gives the same mask as the whole view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DENSITY = 0.08
"""Optical density, -log10(grey / 255), above which a place is tissue: darker than 83 % of white."""
SATURATION = 0.08
"""(max - min) / 255 of the colours above which a place is tissue, even if it is pale."""
UNSCANNED = 8
"""At or below this in all colours, a pixel was not scanned."""


def tissue_mask(view: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return a (rows, cols) bool mask, True where a view (rows, cols, 3) uint8 shows tissue.

    A pixel is tissue if the mean of its 3 x 3 neighbourhood has an optical density above `DENSITY` or a colour above
    `SATURATION`. Pixels beyond the edge and black unscanned pixels are left out of the mean. An unscanned pixel is not
    tissue. The mask at a pixel depends on its neighbourhood alone: no threshold is estimated from the view.
    """
    # Integers, one channel at a time, for speed: this runs on every pixel of every view.
    red, green, blue = (view[..., c] for c in range(3))
    scanned: NDArray[np.bool_] = np.maximum(np.maximum(red, green), blue) > UNSCANNED
    visible = view if scanned.all() else np.where(scanned[..., None], view, np.uint8(0))
    weight = _sum3(scanned.astype(np.uint16)).astype(np.float32)
    sums = _sum3(visible.astype(np.uint16))
    reds, greens, blues = (sums[..., c] for c in range(3))
    dense = reds + greens + blues < np.float32(3 * 255 * 10**-DENSITY) * weight
    spread = np.maximum(np.maximum(reds, greens), blues) - np.minimum(np.minimum(reds, greens), blues)
    return scanned & (dense | (spread > np.float32(255 * SATURATION) * weight))


def _sum3(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the sum of each 3 x 3 neighbourhood of (rows, cols, ...). Pixels beyond the edge count as 0."""
    rows = values.copy()
    rows[1:] += values[:-1]
    rows[:-1] += values[1:]
    total = rows.copy()
    total[:, 1:] += rows[:, :-1]
    total[:, :-1] += rows[:, 1:]
    return total
