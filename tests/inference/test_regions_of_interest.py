"""Tiles are drawn from the regions drawn on a slide, whatever its bounds are, and from nowhere else."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from ats_cli import open_slide, predict
from ats_cli.errors import SlideError
from ats_cli.inference.attention_pass import attention_map
from ats_cli.records import Prediction, RegionsUsed
from ats_cli.slides import RegionOptions, read_regions
from ats_cli.slides.regions.slide_regions import SlideRegions
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import check_slides, read_slide_view
from tests.slides.bounded_slides import SIDE, WRITERS, write_scn
from tests.small import noise, random_model, small_spec, write_slide

SPEC = small_spec()  # a position is 4 pixels a side
MODEL = random_model(SPEC)
PITCH = 4
QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_regions(path: Path, *rings: Any, class_name: object = None) -> Path:
    """A GeoJSON file of one polygon as QuPath writes it."""
    geometry = {"type": "Polygon", "coordinates": [np.asarray([*ring, ring[0]]).tolist() for ring in rings]}
    properties = {"objectType": "annotation", "classification": class_name}
    path.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}))
    return path


def rectangle(x: float, y: float, width: float, height: float) -> list[list[float]]:
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def centres(prediction: Prediction) -> np.ndarray:
    return np.array([(tile.x + tile.width / 2, tile.y + tile.height / 2) for tile in prediction.drawn])


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "backend"), [("scn", None), ("scn", "tiff"), ("mrxs", None)])
@QUICK
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(0, 60), st.integers(0, 28)),
    st.integers(0, 99),
)
def test_a_region_around_a_marked_square_holds_the_square(
    kind: str,
    backend: str | None,
    tmp_path_factory: pytest.TempPathFactory,
    offset: tuple[int, int],
    square: tuple[int, int],
    seed: int,
) -> None:
    """As QuPath exports it: counted from the bounds. Offsets from one pixel to more than the region."""
    folder = tmp_path_factory.mktemp("slides")
    pixels = np.full((2 * SIDE, 3 * SIDE, 3), 230, np.uint8)
    (x, y), side = square, 36
    pixels[y : y + side, x : x + side] = 40
    path = WRITERS[kind](folder / f"a.{kind}", (260, 200), [(pixels, *offset)])
    file = write_regions(folder / "a.geojson", rectangle(x, y, side, side))
    with open_slide(path, backend=backend) as slide:
        found = predict(slide, MODEL, regions=file, tiles=30, seed=seed)
        heat = attention_map(slide, MODEL, regions=read_regions(file).on(slide))
        view = read_slide_view(slide, LabelledSlide("a", path, "a", roi=file), SPEC, None)
        level0 = slide.read_view(1).mean(2)
    assert found.provenance.regions is not None and found.provenance.regions.origin == (None if backend else "bounds")
    from_level0 = np.array(offset) * (backend is None)
    drawn = centres(found) - from_level0
    assert len(drawn) == 30 and (np.abs(drawn - (x + side / 2, y + side / 2)) <= side / 2 + 0.5).all()
    for tile in found.drawn:  # by its pixels: the middle of every tile is dark
        assert level0[int(tile.y + tile.height / 2), int(tile.x + tile.width / 2)] < 100 or near_edge(tile, level0)
    for allowed in (view.allowed, heat.values > 0):
        rows, cols = np.nonzero(allowed)
        assert abs((cols.mean() + 0.5) * PITCH - from_level0[0] - x - side / 2) <= PITCH / 2
        assert abs((rows.mean() + 0.5) * PITCH - from_level0[1] - y - side / 2) <= PITCH / 2
        assert len(rows) <= (side / PITCH + 1) ** 2
    assert np.array_equal(view.allowed, heat.values > 0)


def near_edge(tile: Any, level0: np.ndarray) -> bool:
    """Whether the square begins within two pixels of a tile's middle, where JPEG rounds."""
    row, col = int(tile.y + tile.height / 2), int(tile.x + tile.width / 2)
    return bool(level0[max(0, row - 2) : row + 3, max(0, col - 2) : col + 3].min() < 100)


def test_a_region_counted_from_level_0(tmp_path: Path) -> None:
    """Found by itself where the other frame has no room for it; where both have, only when it is said."""
    pixels = np.full((64, 96, 3), 90, np.uint8)
    path = write_scn(tmp_path / "a.scn", (300, 200), [(pixels, 70, 90)])
    far = write_regions(tmp_path / "far.geojson", rectangle(100, 110, 40, 30))
    both = write_regions(tmp_path / "both.geojson", rectangle(72, 40, 20, 20))
    with open_slide(path) as slide:
        assert read_regions(far).on(slide).used == RegionsUsed("far.geojson", "level0", True)
        assert read_regions(both).on(slide).used == RegionsUsed("both.geojson", "bounds", True)
    path = write_scn(tmp_path / "b.scn", (300, 200), [(pixels, 5, 3)])
    both = write_regions(tmp_path / "both.geojson", rectangle(40, 30, 20, 20))
    with open_slide(path) as slide:
        for origin, used, moved in (
            ("auto", RegionsUsed("both.geojson", "bounds", False), (5, 3)),
            ("bounds", RegionsUsed("both.geojson", "bounds", True), (5, 3)),
            ("level0", RegionsUsed("both.geojson", "level0", True), (0, 0)),
        ):
            regions = read_regions(both, RegionOptions(origin=origin)).on(slide)
            assert regions.used == used and regions.extent[:2] == (40 + moved[0], 30 + moved[1])
    found = check_slides(SPEC, [LabelledSlide("b", path, "b", roi=both)], 1)
    assert not found.unreadable and found.in_doubt == {"b": "bounds"}


def test_regions_that_miss_the_slide_or_its_tissue_are_a_sentence(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", noise(100, 120))
    far = write_regions(tmp_path / "far.geojson", rectangle(500, 30, 40, 40))
    thin = write_regions(tmp_path / "thin.geojson", rectangle(20.1, 20.1, 1, 1))
    with pytest.raises(SlideError, match=r"^a\.tif: the regions of far\.geojson lie at x 500 to 540, y 30 to 70"):
        predict(path, MODEL, regions=far)
    with pytest.raises(SlideError, match=r"^a\.tif: no position with tissue has its centre in the regions of thin"):
        predict(path, MODEL, regions=thin)


@pytest.mark.parametrize(
    "how", [{"sampler": "pivotal"}, {"sampler": "murthy"}, {"exhaustive": True}, {"confidence": 0.9}]
)
def test_every_draw_keeps_to_the_regions(tmp_path: Path, how: dict[str, Any]) -> None:
    """And weighs its tiles as a slide would that shows nothing else: their attention sums to one."""
    path = write_slide(tmp_path / "a.tif", noise(140, 160))
    file = write_regions(tmp_path / "r.geojson", rectangle(40, 20, 48, 60), rectangle(52, 32, 20, 20))
    with open_slide(path) as slide:
        heat = attention_map(slide, MODEL, regions=read_regions(file).on(slide))
    found = predict(path, MODEL, regions=file, **({} if "exhaustive" in how else {"tiles": 25}), **how)
    assert found.sampling.positions == heat.positions == np.count_nonzero(heat.values) == 12 * 15 - 25
    assert heat.values.sum() == pytest.approx(1) and found.tile_arrays is not None
    col, row = ((centres(found) if found.drawn else found.tile_arrays.boxes[:, :2] + 8) // PITCH).astype(int).T
    assert (heat.values[row, col] > 0).all()
    attention = found.tile_arrays.attention
    np.testing.assert_allclose(attention[found.tile_arrays.readable], heat.values[row, col], rtol=1e-6)


COORDINATE = st.floats(-20, 140).map(lambda value: round(value, 2))
RINGS = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=7)


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(RINGS, min_size=1, max_size=3), min_size=1, max_size=3), st.sampled_from((3.0, 4.0, 7.3)))
def test_positions_of_random_polygons_with_holes_are_those_of_matplotlib(polygons: Any, pitch: float) -> None:
    """By even and odd crossings, ring by ring; also strip by strip. Not within a thousandth of a pixel of an edge."""
    rows, cols = 30, 33
    arrays = [[np.array(ring, float) for ring in polygon] for polygon in polygons]
    regions = SlideRegions(RegionsUsed("r.geojson", None, True), arrays)
    ours = regions.positions(pitch, range(rows), cols)
    y, x = np.meshgrid((np.arange(rows) + 0.5) * pitch, (np.arange(cols) + 0.5) * pitch, indexing="ij")
    points = np.stack([x.ravel(), y.ravel()], 1)
    theirs, sure = np.zeros(len(points), bool), np.ones(len(points), bool)
    for polygon in arrays:
        odd = np.zeros(len(points), bool)
        for ring in polygon:
            odd ^= even_odd(ring, points)
            sure &= distance(ring, points) > 1e-3
        theirs |= odd
    assert np.array_equal(ours.ravel()[sure], theirs[sure])
    strips = [regions.positions(pitch, range(start, min(start + 7, rows)), cols) for start in range(0, rows, 7)]
    assert np.array_equal(np.concatenate(strips), ours)


def even_odd(ring: np.ndarray, points: np.ndarray) -> np.ndarray:
    """By fans of triangles from the first corner: each that holds a point turns it over."""
    odd = np.zeros(len(points), bool)
    for a, b in itertools.pairwise(ring[1:]):
        triangle = np.array([ring[0], a, b, ring[0]])
        u, v = a - ring[0], b - ring[0]
        if u[0] * v[1] - u[1] * v[0] != 0:
            odd ^= Outline(triangle, closed=True).contains_points(points)
    return odd


def distance(ring: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The distance of points to the nearest side of a ring, and of the fan that `even_odd` cuts it into."""
    least = np.full(len(points), np.inf)
    sides = [*zip(ring, np.roll(ring, -1, axis=0), strict=True), *((ring[0], corner) for corner in ring[2:-1])]
    for a, b in sides:
        along = b - a
        t = np.clip(((points - a) @ along) / max(along @ along, 1e-12), 0, 1)
        least = np.minimum(least, np.hypot(*(points - a - t[:, None] * along).T))
    return least
