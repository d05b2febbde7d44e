"""Values of a map as colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ats_cli.results.maps.slide_map import BLOCK, Floats, SlideMap, blocks, value_range

Scale = Literal["linear", "log", "rank"]

# On the log scale, values below this share of the highest have one colour.
LOG_RANGE = 1e-3
# Ranks are read from a histogram with bins of equal ratio, down to this share of the highest value.
RANK_RANGE = 1e-9
BINS = 4096


@dataclass(frozen=True)
class Rendering:
    """How values become colours: `positions` in 0..1 at the sorted `values`, linear between, then a colour of `table`.

    values, positions: (n,) increasing. table: (256, 3) uint8.
    """

    values: NDArray[np.float64]
    positions: NDArray[np.float64]
    table: NDArray[np.uint8]

    def unit(self, values: Floats) -> NDArray[np.float64]:
        """Return each value's place in 0..1."""
        return np.interp(values, self.values, self.positions)

    def colors(self, values: Floats) -> NDArray[np.uint8]:
        """Return (rows, cols, 3) uint8."""
        return self.table[np.round(self.unit(values) * 255).astype(np.uint8)]


def rendering(slide_map: SlideMap, scale: Scale = "linear", colormap: str | None = None) -> Rendering:
    """Return the rendering of a map. Signed values are always linear and diverge from the middle of the colours.

    `colormap`: one of matplotlib's; by default turbo, and for signed values RdBu_r.
    """
    import matplotlib

    colors = matplotlib.colormaps[colormap or ("RdBu_r" if slide_map.signed else "turbo")]
    table = np.round(colors(np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    low, high = value_range(slide_map)
    if slide_map.signed or scale == "linear":
        return Rendering(np.array([low, high]), np.array([0.0, 1.0]), table)
    edges = np.geomspace(high * (LOG_RANGE if scale == "log" else RANK_RANGE), high, BINS)
    return Rendering(edges, np.linspace(0, 1, BINS) if scale == "log" else _ranks(slide_map, edges), table)


def _ranks(slide_map: SlideMap, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each edge the share of positive values that are at most as high."""
    counts = np.zeros(len(edges), np.int64)
    for place in blocks(slide_map.rows, slide_map.cols, BLOCK):
        values = slide_map.block(*place)
        positive = values[values > 0]
        counts += np.bincount(
            np.searchsorted(edges, positive, side="left").clip(max=len(edges) - 1), minlength=len(edges)
        )
    return np.cumsum(counts) / max(int(counts.sum()), 1)
