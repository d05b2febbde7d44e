"""The order along the Hilbert curve, put together from squares, is that of each cell's distance."""

import numpy as np
import pytest

from ats_cli.sampling.hilbert import SQUARE, _along, hilbert_order


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (SQUARE - 1, SQUARE + 1), (300, 700), (513, 100), (1, 900), (2000, 3)]
)
def test_squares_or_all_at_once(shape: tuple[int, int]) -> None:
    distance, _, _ = _along(np.mgrid[: shape[0], : shape[1]], 1 << (max(shape) - 1).bit_length())
    assert np.array_equal(hilbert_order(*shape), np.argsort(distance, axis=None))


def test_neighbours_on_the_curve_are_neighbours_on_the_grid() -> None:
    y, x = np.divmod(hilbert_order(1024, 1024), 1024)
    assert (np.abs(np.diff(y)) + np.abs(np.diff(x)) == 1).all()
