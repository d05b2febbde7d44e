"""GeoJSON as QuPath writes it: polygons and the classes that they have."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ats_cli.slides.inputs.labels import plain

_GZIP = b"\x1f\x8b"

Ring = NDArray[np.float64]
"""(n, 2): x, y of its corners in pixels; the last is joined with the first."""

Polygon = list[Ring]
"""An outer ring and its holes."""


class ClassedPolygon(NamedTuple):
    """A polygon, and the class that QuPath gives it; None where it has none."""

    polygon: Polygon
    class_name: str | None


def polygons_of(document: bytes) -> list[ClassedPolygon]:
    """Return the polygons of a GeoJSON document (RFC 7946): a FeatureCollection, a list of features, a feature or a
    geometry, in any encoding of Unicode, perhaps compressed by gzip.

    A feature without geometry, and a geometry without coordinates, have no polygon. Raises ValueError for what is no
    GeoJSON, RecursionError for what nests too deep.
    """
    if document.startswith(_GZIP):
        try:
            document = gzip.decompress(document)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"damaged gzip: {error}") from error
    return _polygons(json.loads(document), None)


def _polygons(value: Any, class_name: str | None) -> list[ClassedPolygon]:
    if isinstance(value, list):
        return [polygon for item in value for polygon in _polygons(item, class_name)]
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise ValueError(f"{str(kind or value)[:40]!r} is no feature and no geometry")
    if _MEMBERS[kind] not in value:
        raise ValueError(f"a {kind} without {_MEMBERS[kind]}")
    content = value[_MEMBERS[kind]]
    if kind == "Feature":
        return [] if content is None else _polygons(content, _class_name(value.get("properties")))
    if kind in ("FeatureCollection", "GeometryCollection"):
        return _polygons(_list(content), class_name)
    if kind in ("Polygon", "MultiPolygon"):
        several = [content] if kind == "Polygon" else _list(content)
        return [ClassedPolygon(_rings(rings), class_name) for rings in several if rings != []]
    return []  # points and lines have no inside


def _class_name(properties: Any) -> str | None:
    """The class of a feature: QuPath writes its name, or an object with `name`, or with `names` from general to
    special, shown as "Tumor: Positive"."""
    found = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(found, dict):
        names = found.get("names")
        found = ": ".join(map(str, names)) if isinstance(names, list) and names else found.get("name")
    return plain(found) or None if isinstance(found, str) else None


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
