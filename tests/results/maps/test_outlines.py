"""Outlines cover exactly the cells of a mask, as shapely sees them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Polygon, box
from shapely.ops import unary_union

from ats_cli.results.maps.outlines import outlines

masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


@pytest.mark.integration
@settings(max_examples=300, deadline=None)
@given(masks)
def test_polygons_cover_the_cells_and_nothing_else(mask: np.ndarray) -> None:
    cells = [box(col, row, col + 1, row + 1) for row, col in np.argwhere(mask).tolist()]
    polygons = outlines(mask)
    shapes = [Polygon(rings[0], rings[1:]) for rings in polygons]
    assert all(shape.is_valid for shape in shapes)
    assert sum(shape.area for shape in shapes) == mask.sum()
    assert unary_union(shapes).symmetric_difference(unary_union(cells)).area == 0
    for rings in polygons:
        for ring in rings:
            assert ring[0] == ring[-1] and len(ring) >= 5
            turns = np.diff(np.array(ring), axis=0)
            assert (np.count_nonzero(turns, axis=1) == 1).all()
            assert (np.sign(turns[1:]) != np.sign(turns[:-1])).any(axis=1).all(), "corners only"


def test_a_ring_of_cells_has_a_hole_and_a_cell_within_it_is_its_own() -> None:
    mask = np.ones((5, 5), bool)
    mask[1:4, 1:4] = False
    mask[2, 2] = True
    sizes = sorted(len(rings) for rings in outlines(mask))
    assert sizes == [1, 2]
