"""Where coordinates of regions begin: at the corner of level 0, or at that of the slide's bounds, as in QuPath.

A scanner may place its pictures anywhere on a larger canvas (MIRAX, Leica SCN): OpenSlide's level 0 is the canvas, and
its properties `openslide.bounds-*` are the part with pictures. QuPath shows, and exports, that part only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2): x, y."""

Origin = Literal["bounds", "level0"]

ORIGINS = ("auto", "bounds", "level0")
"""Where the coordinates of a region file may begin. auto: `find_origin` decides by their extent."""

ROUNDING = 1.0
"""Pixels that a region may reach beyond the picture it was drawn on: programs round and clip differently."""


class Bounds(NamedTuple):
    """The part of level 0 that holds pictures, in level-0 pixels."""

    x: int
    y: int
    width: int
    height: int


class Extent(NamedTuple):
    """The rectangle around regions: the least and greatest x and y, in pixels of either frame."""

    min_x: float
    min_y: float
    max_x: float
    max_y: float

    def moved(self, x: float, y: float) -> Extent:
        return Extent(self.min_x + x, self.min_y + y, self.max_x + x, self.max_y + y)

    def share_inside(self, width: float, height: float) -> float:
        """The share of this rectangle that lies in (0, 0, width, height), 1 up to a pixel's rounding."""
        return _share(self.min_x, self.max_x, width) * _share(self.min_y, self.max_y, height)


class Placement(NamedTuple):
    """Where coordinates begin. `certain`: False if the regions would lie on the slide with the other origin too."""

    origin: Origin
    certain: bool


def stated_bounds(properties: Mapping[str, str]) -> Bounds | None:
    """Return the bounds in a slide's properties, named as OpenSlide names them; None where there are none.

    >>> stated_bounds({f"openslide.bounds-{name}": "8" for name in ("x", "y", "width", "height")})
    Bounds(x=8, y=8, width=8, height=8)
    """
    try:
        bounds = Bounds(*(int(properties[f"openslide.bounds-{name}"]) for name in Bounds._fields))
    except (KeyError, ValueError):
        return None
    return bounds if bounds.width > 0 and bounds.height > 0 else None


def to_level0(points: Points, bounds: Bounds | None) -> Points:
    """Return points of QuPath's picture of a slide in level-0 pixels."""
    return points + np.array(bounds[:2] if bounds else (0, 0), np.float64)


def to_picture(points: Points, bounds: Bounds | None) -> Points:
    """Return level-0 points in pixels of QuPath's picture of a slide: the inverse of `to_level0`."""
    return points - np.array(bounds[:2] if bounds else (0, 0), np.float64)


def find_origin(extent: Extent, bounds: Bounds, size: tuple[int, int]) -> Placement:
    """Tell from the extent of all regions of a file where their coordinates begin.

    bounds: of the slide. size: its level 0, (width, height).

    Regions lie where the slide has pictures: the origin is the one with which more of the extent lies within the
    bounds. If both are equal, it is that of the bounds, as QuPath exports it, unless the extent has room on level 0
    only.

    >>> find_origin(Extent(0, 0, 30, 30), Bounds(100, 100, 50, 50), (200, 200))
    Placement(origin='bounds', certain=True)
    >>> find_origin(Extent(100, 100, 150, 150), Bounds(100, 100, 50, 50), (200, 200))
    Placement(origin='level0', certain=True)
    """
    if bounds[:2] == (0, 0):
        return Placement("level0", True)
    picture = bounds.width, bounds.height
    from_bounds = extent.share_inside(*picture)
    from_level0 = extent.moved(-bounds.x, -bounds.y).share_inside(*picture)
    if from_bounds == from_level0 < 1 and extent.share_inside(*size) == 1:
        return Placement("level0", False)
    origin: Origin = "bounds" if from_bounds >= from_level0 else "level0"
    return Placement(origin, {from_bounds, from_level0} > {1.0} or min(from_bounds, from_level0) == 0)


def _share(start: float, stop: float, side: float) -> float:
    """The share of the interval from `start` to `stop` that lies within 0 to `side`."""
    if start >= -ROUNDING and stop <= side + ROUNDING:
        return 1.0
    return max(0.0, min(stop, side) - max(start, 0.0)) / (stop - start) if stop > start else 0.0
