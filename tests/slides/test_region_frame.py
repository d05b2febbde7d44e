"""Where regions are counted from: bounds are those of OpenSlide whatever reads the slide, and both frames lead back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ats_cli import open_slide
from ats_cli.slides.regions.frame import (
    Bounds,
    Extent,
    Placement,
    find_origin,
    stated_bounds,
    to_level0,
    to_picture,
)
from tests.slides.bounded_slides import SIDE, WRITERS, write_scn
from tests.small import noise, write_slide

COORDINATES = st.integers(0, 500)
BOUNDS = st.builds(Bounds, COORDINATES, COORDINATES, st.integers(1, 500), st.integers(1, 500))


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 4), st.integers(1, 4))
def test_bounds_are_the_part_with_pictures(
    kind: str, tmp_path_factory: pytest.TempPathFactory, x: int, y: int, cols: int, rows: int
) -> None:
    pixels = np.full((rows * SIDE, cols * SIDE, 3), 90, np.uint8)
    path = WRITERS[kind](tmp_path_factory.mktemp("slide") / f"a.{kind}", (220, 220), [(pixels, x, y)])
    with open_slide(path) as slide:
        assert slide.bounds == (x, y, cols * SIDE, rows * SIDE)
        rows_dark, cols_dark = np.nonzero(slide.read_view(1).mean(2) < 170)
    assert (cols_dark.min(), rows_dark.min()) == (x, y)
    assert (cols_dark.max() + 1 - x, rows_dark.max() + 1 - y) == (cols * SIDE, rows * SIDE)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=3))
def test_a_point_of_qupaths_picture_is_one_place_whatever_reads_the_slide(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[int, int]]
) -> None:
    """The TIFF reader shows the largest of several pictures by itself; OpenSlide shows the whole canvas."""
    places = [(np.full((40 + 4 * i, 40 + 4 * i, 3), 90, np.uint8), 150 * i + x, y) for i, (x, y) in enumerate(corners)]
    path = write_scn(tmp_path_factory.mktemp("slide") / "a.scn", (500, 200), places)
    _, x, y = places[-1]
    with openslide.OpenSlide(path) as by_openslide, open_slide(path, backend="tiff") as tiff:
        theirs = stated_bounds(dict(by_openslide.properties))
        assert theirs is not None and tiff.bounds is not None
        assert tiff.bounds[2:] == theirs[2:] and (tiff.width, tiff.height) == places[-1][0].shape[:2]
        point = np.array([[3.0, 5.0]])
        assert (to_level0(point, tiff.bounds) + np.array([x, y])).tolist() == to_level0(point, theirs).tolist()


def test_slides_without_bounds_have_none(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "a.tif", noise(40, 50))) as slide:
        assert slide.bounds is None
    assert stated_bounds({"openslide.bounds-x": "1"}) is None
    assert stated_bounds({f"openslide.bounds-{name}": "x" for name in Bounds._fields}) is None


@pytest.mark.integration
@given(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1), BOUNDS | st.none())
def test_both_ways_lead_back(points: list[tuple[int, int]], bounds: Bounds | None) -> None:
    array = np.array(points, float)
    assert np.array_equal(to_picture(to_level0(array, bounds), bounds), array)
    assert np.array_equal(to_level0(to_picture(array, bounds), bounds), array)


@st.composite
def regions_on_a_picture(draw: st.DrawFn) -> tuple[Extent, Bounds, tuple[int, int]]:
    """A rectangle on the picture, in the picture's frame; the bounds; the size of level 0."""
    bounds = draw(BOUNDS)
    left, right = sorted(draw(st.lists(st.integers(0, bounds.width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, bounds.height), min_size=2, max_size=2, unique=True)))
    size = bounds.x + bounds.width + draw(COORDINATES), bounds.y + bounds.height + draw(COORDINATES)
    return Extent(left, top, right, bottom), bounds, size


@given(regions_on_a_picture())
def test_what_qupath_exports_is_never_moved(drawn: tuple[Extent, Bounds, tuple[int, int]]) -> None:
    extent, bounds, size = drawn
    assume(bounds[:2] != (0, 0))
    assert find_origin(extent, bounds, size).origin == "bounds"


@given(regions_on_a_picture())
def test_what_is_counted_from_level_0_is_taken_so_where_the_other_frame_has_no_room(
    drawn: tuple[Extent, Bounds, tuple[int, int]],
) -> None:
    extent, bounds, size = drawn
    assume(bounds[:2] != (0, 0))
    found = find_origin(extent.moved(bounds.x, bounds.y), bounds, size)
    fits_both = extent.max_x + bounds.x <= bounds.width + 1 and extent.max_y + bounds.y <= bounds.height + 1
    assert found == (Placement("bounds", False) if fits_both else Placement("level0", True))


@pytest.mark.parametrize(
    ("extent", "origin"),
    [
        (Extent(0, 0, 400, 300), "level0"),  # all of level 0, larger than the picture
        (Extent(-5, 0, 106, 100), "bounds"),  # drawn a little over the picture's edges
        (Extent(150, 150, 262, 245), "level0"),
    ],
)
def test_what_lies_wholly_in_neither_frame_goes_where_more_of_it_lies(extent: Extent, origin: str) -> None:
    assert find_origin(extent, Bounds(150, 150, 100, 100), (400, 300)).origin == origin
