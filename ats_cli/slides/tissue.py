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
    scanned = view.max(axis=2) > UNSCANNED
    weight = _sum3(scanned.astype(np.float32))
    with np.errstate(invalid="ignore", divide="ignore"):
        channels = [_sum3(np.where(scanned, view[..., c], 0).astype(np.float32)) / weight for c in range(3)]
        mean = np.stack(channels, axis=2)
        dense = mean.mean(axis=2) < 255 * 10**-DENSITY
        coloured = mean.max(axis=2) - mean.min(axis=2) > 255 * SATURATION
    mask: NDArray[np.bool_] = scanned & (dense | coloured)
    return mask


def _sum3(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of each 3 x 3 neighbourhood; beyond the edge there is nothing."""
    p = np.pad(values, 1)
    rows = p[:-2] + p[1:-1] + p[2:]
    total: NDArray[np.float32] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total
