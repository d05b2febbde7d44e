"""Regions of interest: the polygons of a file, placed on a slide; and which positions lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.records import RegionsUsed
from ats_cli.slides.regions.frame import Extent, Placement, find_origin, to_level0
from ats_cli.slides.regions.geojson import Polygon

if TYPE_CHECKING:
    from ats_cli.slides.slide import Slide

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a file, in its own coordinates.

    name: the file's. polygons: those of the classes that were asked for. extent: of all polygons of the file. origin:
    where their coordinates begin, one of `frame.ORIGINS`.
    """

    name: str
    polygons: Sequence[Polygon]
    extent: Extent
    origin: str = "auto"

    def on(self, slide: Slide) -> SlideRegions:
        """Place the regions on a slide. Raises SlideError if they miss it."""
        size, bounds = (slide.width, slide.height), slide.bounds
        placement: Placement | None = None
        if bounds is not None and bounds[:2] != (0, 0):
            placement = find_origin(self.extent, bounds, size)
            if self.origin != "auto":
                placement = Placement("bounds" if self.origin == "bounds" else "level0", True)
        shift = bounds if placement is not None and placement.origin == "bounds" else None
        placed = [[to_level0(ring, shift) for ring in polygon] for polygon in self.polygons]
        outside = sum(extent_of([polygon]).share_inside(*size) == 0 for polygon in placed)
        certain = placement is None or placement.certain
        used = RegionsUsed(self.name, placement and placement.origin, certain, outside)
        regions = SlideRegions(used, placed)
        if regions.extent.share_inside(*size) == 0:
            raise SlideError(self._misses(regions.extent, slide), "regions", slide.path.name)
        return regions

    def _misses(self, extent: Extent, slide: Slide) -> str:
        frame = " Their coordinates may begin elsewhere: try --roi-origin." if slide.bounds else ""
        return (
            f"the regions of {self.name} lie at x {extent.min_x:.0f} to {extent.max_x:.0f}, y {extent.min_y:.0f} to "
            f"{extent.max_y:.0f}, outside of its {slide.width} x {slide.height} pixels. Check whether they are of this "
            f"slide.{frame}"
        )


class SlideRegions:
    """Regions of a slide, in level-0 pixels. A position may be drawn if its centre lies in one of them."""

    def __init__(self, used: RegionsUsed, polygons: Sequence[Polygon]) -> None:
        self.used, self.extent = used, extent_of(polygons)
        self._polygons = [_Edges.of(polygon) for polygon in polygons]
        self._tops = np.array([edges.min_y for edges in self._polygons])
        self._bottoms = np.array([edges.max_y for edges in self._polygons])

    def positions(self, pitch: float, rows: range, cols: int) -> NDArray[np.bool_]:
        """Return which positions lie in the regions, (rows, cols): squares of side `pitch` from the slide's corner."""
        x, y = (
            np.asarray(np.arange(start, stop) + 0.5, np.float64) for start, stop in ((0, cols), (rows.start, rows.stop))
        )
        return self.grid(x * pitch, y * pitch)

    def grid(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Return which points of the grid x (cols,) by y (rows,) lie in the regions, (rows, cols). Both ascending."""
        found = np.zeros((len(y), len(x)), np.bool_)
        if len(y):
            for number in np.flatnonzero((self._tops <= y[-1]) & (self._bottoms > y[0])):
                self._polygons[number].add(found, x, y)
        return found

    def nothing_to_draw(self, file_name: str) -> SlideError:
        """Return the error for a slide on which no position can be drawn."""
        return SlideError(
            f"no position with tissue has its centre in the regions of {self.used.file}. Draw them on "
            "tissue, and larger than a position.",
            "regions",
            file_name,
        )


def extent_of(polygons: Sequence[Polygon]) -> Extent:
    """Return the rectangle around polygons, at least one."""
    corners = [(ring.min(0), ring.max(0)) for polygon in polygons for ring in polygon]
    least, greatest = np.min([low for low, _ in corners], 0), np.max([high for _, high in corners], 0)
    return Extent(float(least[0]), float(least[1]), float(greatest[0]), float(greatest[1]))


class _Edges(NamedTuple):
    """The edges of a polygon, holes included: (n, 2) starts and ends; the least and greatest y."""

    starts: Floats
    ends: Floats
    min_y: float
    max_y: float

    @classmethod
    def of(cls, polygon: Polygon) -> _Edges:
        starts = np.concatenate(polygon)
        ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in polygon])
        return cls(starts, ends, float(starts[:, 1].min()), float(starts[:, 1].max()))

    def add(self, found: NDArray[np.bool_], x: Floats, y: Floats) -> None:
        """Set the points of the grid that are inside: those with an odd number of edges to the left of them."""
        first, last = np.searchsorted(y, (self.min_y, self.max_y))
        for row in range(first, last):
            crosses = (self.starts[:, 1] <= y[row]) != (self.ends[:, 1] <= y[row])
            (x0, y0), (x1, y1) = self.starts[crosses].T, self.ends[crosses].T
            at = np.sort(x0 + (y[row] - y0) / (y1 - y0) * (x1 - x0))
            found[row] |= np.searchsorted(at, x, side="right") % 2 == 1
