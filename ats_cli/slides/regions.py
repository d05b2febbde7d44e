"""Regions of a slide, from GeoJSON as QuPath writes it: polygons in level-0 pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import SlideError
from ats_cli.slides.find import stem
from ats_cli.slides.remote_path import AnyPath

Ring = NDArray[np.float64]
"""(n, 2): x, y of its corners in level-0 pixels; the last is joined with the first."""

Polygon = list[Ring]
"""An outer ring and its holes."""


def regions_file(slide: AnyPath, roi: Path) -> Path | None:
    """The GeoJSON file with a slide's regions: `roi`, or where that is a folder the file in it with the slide's stem,
    None where it has none."""
    if not roi.is_dir():
        return roi
    files = (roi / f"{stem(slide.name)}{suffix}" for suffix in (".geojson", ".json"))
    return next((file for file in files if file.is_file()), None)


def read_regions(path: Path) -> list[Polygon]:
    """The polygons of a GeoJSON file: a FeatureCollection, a list of features, a feature or a geometry.

    Raises SlideError, a sentence that begins with the file's name, for what is none, and where it holds no polygon.
    """
    try:
        polygons = list(_polygons(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise SlideError(f"{path.name}: no such file in {path.parent.absolute()}. Check the path.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SlideError(f"{path.name}: not readable as GeoJSON ({error}). Export it from QuPath again.") from error
    if not polygons:
        raise SlideError(
            f"{path.name}: holds no polygon. Draw regions as polygons or rectangles, and export them again."
        )
    return polygons


def inside(polygons: list[Polygon], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points of the grid x (cols,) by y (rows,) lie in any polygon: (rows, cols).

    By crossings: a point is inside where an odd number of the polygon's edges, holes included, cross its row to the
    left of it. Both in level-0 pixels, ascending.
    """
    found = np.zeros((len(y), len(x)), bool)
    for rings in polygons:
        starts = np.concatenate(rings)
        ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        for row in np.flatnonzero((y >= starts[:, 1].min()) & (y < starts[:, 1].max())):
            crosses = (starts[:, 1] <= y[row]) != (ends[:, 1] <= y[row])
            (x0, y0), (x1, y1) = starts[crosses].T, ends[crosses].T
            at = np.sort(x0 + (y[row] - y0) / (y1 - y0) * (x1 - x0))
            found[row] |= np.searchsorted(at, x, side="right") % 2 == 1
    return found


def _polygons(value: Any) -> list[Polygon]:
    if isinstance(value, list):
        return [polygon for one in value for polygon in _polygons(one)]
    kind = value["type"]
    if kind == "FeatureCollection":
        return _polygons(value["features"])
    if kind == "Feature":
        return _polygons(value["geometry"])
    if kind == "GeometryCollection":
        return _polygons(value["geometries"])
    if kind == "Polygon":
        return [_rings(value["coordinates"])]
    if kind == "MultiPolygon":
        return [_rings(rings) for rings in value["coordinates"]]
    return []  # points and lines have no inside


def _rings(coordinates: list[list[list[float]]]) -> Polygon:
    rings = [np.array([point[:2] for point in ring], np.float64) for ring in coordinates]
    if not rings or not all(np.isfinite(ring).all() and len(ring) >= 3 for ring in rings):
        raise ValueError("a polygon has fewer than three corners, or corners that are no numbers")
    return rings
