"""Regions of a slide, from GeoJSON as QuPath writes it: polygons in level-0 pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.inputs.discovery import stem
from ats_cli.slides.remote.path import AnyPath

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
    """The polygons of a GeoJSON file (RFC 7946): a FeatureCollection, a list of features, a feature or a geometry.

    A feature without geometry, and a geometry without coordinates, have no polygon.

    Raises SlideError, a sentence that begins with the file's name, for what is none, and where it holds no polygon.
    """
    try:
        polygons = _polygons(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise SlideError(f"{path.name}: no such file in {path.parent.absolute()}. Check the path.") from None
    except (OSError, ValueError) as error:
        raise SlideError(f"{path.name}: not readable as GeoJSON ({error}). Export it from QuPath again.") from error
    except RecursionError:
        raise SlideError(f"{path.name}: nested too deep for GeoJSON. Export it from QuPath again.") from None
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
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise ValueError(f"{str(kind or value)[:40]!r} is no feature and no geometry")
    if _MEMBERS[kind] not in value:
        raise ValueError(f"a {kind} without {_MEMBERS[kind]}")
    content = value[_MEMBERS[kind]]
    if kind == "Feature":
        return [] if content is None else _polygons(content)
    if kind in ("FeatureCollection", "GeometryCollection"):
        return _polygons(_list(content))
    if kind in ("Polygon", "MultiPolygon"):
        several = [content] if kind == "Polygon" else _list(content)
        return [_rings(rings) for rings in several if rings != []]
    return []  # points and lines have no inside


_MEMBERS = {
    "FeatureCollection": "features",
    "Feature": "geometry",
    "GeometryCollection": "geometries",
    **dict.fromkeys(("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"), "coordinates"),
}


def _rings(coordinates: Any) -> Polygon:
    rings = [np.array([_corner(point) for point in _list(ring)], np.float64) for ring in _list(coordinates, 1)]
    if any(len(ring) < 3 for ring in rings):
        raise ValueError("a polygon has fewer than three corners")
    return rings


def _corner(point: Any) -> tuple[float, float]:
    x, y, *_ = _list(point, 2)
    if not all(type(number) in (int, float) and abs(number) < 1e300 for number in (x, y)):
        raise ValueError("a polygon has corners that are no numbers")
    return float(x), float(y)


def _list(value: Any, least: int = 0) -> list[Any]:
    if not isinstance(value, list) or len(value) < least:
        raise ValueError(f"{str(value)[:40]} where a list is expected")
    return value
