"""Whatever valid GeoJSON holds is read as it was written; anything else is a sentence."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import SlideError
from ats_cli.slides.regions.region_files import read_regions
from tests.slides.test_regions import inside

FAULTS = Path(__file__).parents[1] / "data" / "faults" / "geojson"

NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))
POSITIONS = st.lists(NUMBERS, min_size=2, max_size=4)  # RFC 7946 allows heights, and more
RINGS = st.lists(POSITIONS, min_size=3, max_size=6).map(lambda corners: [*corners, corners[0]])
POLYGONS = st.lists(RINGS, min_size=1, max_size=3)
FOREIGN = st.dictionaries(st.sampled_from(("bbox", "id", "plane", "properties", "nucleusGeometry")), st.none())

Expected = list[list[list[list[float]]]]
"""Polygons, rings, corners, x and y."""


def member(kind: str, name: str, content: st.SearchStrategy[tuple[Any, Expected]]) -> Any:
    """An object of that kind with its expected polygons, and members that are of no concern before and after."""
    return st.builds(
        lambda before, found, after: ({**before, "type": kind, name: found[0], **after}, found[1]),
        FOREIGN,
        content,
        FOREIGN,
    )


def listed(items: Any, most: int = 3) -> Any:
    return st.lists(items, max_size=most).map(lambda found: ([f[0] for f in found], [p for f in found for p in f[1]]))


def plain(polygon: Any) -> list[list[list[float]]]:
    return [[[float(position[0]), float(position[1])] for position in ring] for ring in polygon]


NO_INSIDE = st.one_of(
    member("Point", "coordinates", POSITIONS.map(lambda found: (found, []))),
    member("LineString", "coordinates", st.lists(POSITIONS, min_size=2, max_size=4).map(lambda found: (found, []))),
    member("Polygon", "coordinates", st.just(([], []))),  # as good as null
)
WITH_INSIDE = st.one_of(
    member("Polygon", "coordinates", POLYGONS.map(lambda found: (found, [plain(found)]))),
    member(
        "MultiPolygon", "coordinates", st.lists(POLYGONS, max_size=3).map(lambda found: (found, [*map(plain, found)]))
    ),
)
GEOMETRIES = st.recursive(
    NO_INSIDE | WITH_INSIDE, lambda inner: member("GeometryCollection", "geometries", listed(inner)), max_leaves=4
)
FEATURES = member("Feature", "geometry", GEOMETRIES | st.just((None, [])))
DOCUMENTS = st.one_of(GEOMETRIES, FEATURES, listed(FEATURES), member("FeatureCollection", "features", listed(FEATURES)))


@pytest.mark.integration
@settings(deadline=None, max_examples=80)
@given(DOCUMENTS, st.booleans(), st.sampled_from((None, 1)), st.booleans())
def test_every_polygon_of_valid_geojson_is_read(
    document: tuple[Any, Expected], bom: bool, indent: int | None, ascii_only: bool
) -> None:
    value, expected = document
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "r.geojson")
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        file.write_text(text, encoding="utf-8-sig" if bom else "utf-8")
        if not expected:
            with pytest.raises(SlideError, match=r"^r\.geojson: holds no polygon"):
                read_regions(file)
        else:
            assert [[ring.tolist() for ring in polygon] for polygon in read_regions(file).polygons] == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | POLYGONS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("type", "coordinates", "geometry", "geometries", "features")), inner)
        | st.builds(
            lambda kind, name, content: {"type": kind, name: content},
            st.sampled_from(
                ("Polygon", "MultiPolygon", "Feature", "FeatureCollection", "GeometryCollection", "Circle")
            ),
            st.sampled_from(("coordinates", "geometry", "features", "geometries")),
            inner,
        )
    ),
    max_leaves=8,
)


@pytest.mark.integration
@settings(deadline=None, max_examples=150)
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_anything_else_is_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "r.geojson")
        file.write_bytes(content)
        try:
            polygons = read_regions(file).polygons
        except SlideError as error:
            assert str(error).startswith("r.geojson: ") and str(error).endswith(".")
        else:
            assert all(len(ring) >= 3 for polygon in polygons for ring in polygon)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"type": "Polygon", "coordinates": ' + b"[" * 100_000, "nested too deep"),
        (b'{"type":"GeometryCollection","geometries":[' * 3000 + b"]}" * 3000, "nested too deep"),
        (b'{"type": "Polygon", "coordinates": [[["1", "2"], ["3", "4"], ["5", "9"]]]}', "no numbers"),
        (b'{"type": "Polygon", "coordinates": [[[1e400, 2], [3, 4], [5, 9]]]}', "no numbers"),
        (b'{"type": "Polygon", "coordinates": [[[1' + b"0" * 400 + b", 2], [3, 4], [5, 9]]]}", "no numbers"),
        (b'{"type": "Circle", "coordinates": [1, 2]}', "'Circle' is no feature and no geometry"),
        (b'{"type": "Feature"}', "a Feature without geometry"),
        ('{"type": "Polygon"}'.encode("utf-16"), "not readable as GeoJSON"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "r.geojson").write_bytes(content)
    with pytest.raises(SlideError, match=rf"^r\.geojson: .*{words}"):
        read_regions(tmp_path / "r.geojson")


@pytest.mark.parametrize("name", ["bom.geojson", "nullgeom.geojson"])
def test_a_mark_of_the_byte_order_and_a_feature_without_geometry(name: str) -> None:
    assert inside(read_regions(FAULTS / name).polygons, np.array([5.0, 15.0]), np.array([5.0])).tolist() == [
        [True, False]
    ]
