"""The square of each position on the slide, and its tile, in level-0 pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import ModelSpec


@dataclass(frozen=True)
class Geometry:
    """A model's scales on one slide.

    `view_downsample`: level-0 pixels per pixel of the low-resolution view. `pitch`: side of a position.
    `tile_size`: side of a tile. Position (row, col) covers the square [col * pitch, (col + 1) * pitch) x
    [row * pitch, (row + 1) * pitch), and its tile has the same centre.
    """

    view_downsample: float
    stride: int
    pitch: float
    tile_size: float
    patch_size: int

    def grid_shape(self, view_shape: tuple[int, int]) -> tuple[int, int]:
        """Return the positions (rows, cols) over a view of (rows, cols) pixels, with partial ones at the end."""
        return -(-view_shape[0] // self.stride), -(-view_shape[1] // self.stride)

    def positions_in(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which positions, (rows, cols) bool, touch a mask over the view's pixels, (view rows, view cols)."""
        rows, cols = self.grid_shape((mask.shape[0], mask.shape[1]))
        padded = np.zeros((rows * self.stride, cols * self.stride), bool)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        # First rows, then columns: several times as fast as a reduction over two axes.
        touched = np.logical_or.reduce([padded[start :: self.stride] for start in range(self.stride)])
        return np.asarray(np.logical_or.reduce([touched[:, start :: self.stride] for start in range(self.stride)]))

    def boxes(self, positions: NDArray[np.int64], cols: int) -> NDArray[np.float64]:
        """Return tiles (n, 4) as x, y, width, height of flat positions (n,) on a grid of `cols` columns.

        A tile near the slide's edge may reach beyond it. Corners are the nearest whole pixels: a tile at the
        file's own resolution is then a copy of its pixels, not an interpolation between them.
        """
        row, col = np.divmod(positions, cols)
        corners = np.stack([self.corners(col), self.corners(row)], axis=1)
        return np.concatenate([corners, np.full((len(positions), 2), self.tile_size)], axis=1)

    def corners(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return where the tiles of these columns begin in x, or of these rows in y."""
        return np.asarray(np.floor((cells + 0.5) * self.pitch - self.tile_size / 2 + 0.5))


def geometry_on(spec: ModelSpec, mpp: float | None) -> Geometry:
    """Return the model's geometry on a slide of `mpp` microns per pixel (used only if the model's unit is "um")."""
    if spec.unit == "um" and mpp is None:
        raise ValueError(f"model {spec.name} needs the slide's microns per pixel")
    per_unit = 1 / mpp if spec.unit == "um" and mpp is not None else 1.0
    view = spec.attention.scale * per_unit
    tile = spec.features.scale * per_unit
    return Geometry(
        view_downsample=view,
        stride=spec.attention.stride,
        pitch=view * spec.attention.stride,
        tile_size=tile * spec.features.patch_size,
        patch_size=spec.features.patch_size,
    )
