"""Regions drawn in QuPath, and which places lie in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from ats_cli.errors import SlideError
from ats_cli.records import RegionsUsed
from ats_cli.slides.regions.region_files import read_regions
from ats_cli.slides.regions.slide_regions import SlideRegions

SQUARE = [[10, 10], [50, 10], [50, 50], [10, 50], [10, 10]]
HOLE = [[20, 20], [20, 30], [30, 30], [30, 20], [20, 20]]


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def inside(polygons: Any, x: Any, y: Any) -> Any:
    return SlideRegions(RegionsUsed("r.geojson", None, True), polygons).grid(x, y)


def feature(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": {}}


def test_a_square_with_a_hole_and_another_beside_it(tmp_path: Path) -> None:
    other = [[x + 60, y] for x, y in SQUARE]
    x, y = np.arange(5.0, 120, 10), np.arange(5.0, 60, 10)
    expected = np.zeros((6, 12), bool)
    expected[1:5, 1:5] = expected[1:5, 7:11] = True
    expected[2, 2] = False
    for value in (
        {"type": "FeatureCollection", "features": [feature("Polygon", [SQUARE, HOLE]), feature("Polygon", [other])]},
        [feature("Polygon", [SQUARE, HOLE]), feature("Polygon", [other]), feature("Point", [1, 2])],
        feature("MultiPolygon", [[SQUARE, HOLE], [other]]),
        {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [other]]},
    ):
        assert np.array_equal(inside(read_regions(write(tmp_path / "r.geojson", value)).polygons, x, y), expected)
    overlapping = read_regions(write(tmp_path / "r.geojson", [feature("Polygon", [SQUARE])] * 2)).polygons
    assert inside(overlapping, x, y)[3, 3], "what lies in two regions lies in them"


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=3, unique=True))
def test_triangles_are_as_matplotlib_sees_them(corners: list[tuple[float, float]]) -> None:
    """Away from the edges, where the two may round differently."""
    triangle = np.array(corners)
    x, y = np.linspace(0.3, 99.7, 23), np.linspace(0.1, 99.9, 19)
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    outline = Outline(np.concatenate([triangle, triangle[:1]]), closed=True)
    sure = np.array([not outline.intersects_path(Outline.circle(tuple(p), 1e-3), filled=False) for p in points])
    theirs, ours = outline.contains_points(points), inside([[triangle]], x, y).ravel()
    assert np.array_equal(ours[sure], theirs[sure])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "holds no polygon"),
        (feature("LineString", [[0, 0], [1, 1]]), "holds no polygon"),
        ({"kind": "Polygon"}, "not readable as GeoJSON"),
        (feature("Polygon", [[[0, 0], [1, 1]]]), "fewer than three corners"),
        (3, "not readable as GeoJSON"),
    ],
)
def test_what_is_no_region_is_a_sentence(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(SlideError, match=rf"^r\.geojson: .*{words}"):
        read_regions(write(tmp_path / "r.geojson", value))
    with pytest.raises(SlideError, match="no such file of regions"):
        read_regions(tmp_path / "none.geojson")
