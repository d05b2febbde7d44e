"""Outlines of the cells of a mask, as polygons with holes whose sides run along the cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ring = list[tuple[int, int]]
Polygon = list[Ring]

# (x, y) of a step in each direction; y points down, so a turn to the right is the next one.
_EAST, _SOUTH, _WEST, _NORTH = range(4)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def outlines(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return the polygons that cover exactly the cells of a mask.

    Each polygon is its outer ring and then its holes; rings are closed, their corners (x, y) in cells: cell (row, col)
    covers [col, col + 1] x [row, row + 1]. Outer rings run clockwise on the screen, holes the other way. Cells that
    touch at a corner only are in different polygons; no ring touches itself.
    """
    labels, count = _components(mask)
    polygons: list[Polygon] = [[] for _ in range(count)]
    for ring, label in _rings(mask, labels):
        # Only the outer ring of a component has a positive area.
        polygons[label - 1].insert(0 if _area(ring) > 0 else len(polygons[label - 1]), ring)
    return polygons


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Number the components of cells that share a side, from 1; 0 outside. By runs of rows and union-find."""
    labels = np.zeros(mask.shape, np.int64)
    parents = [0]

    def root(label: int) -> int:
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label

    for row in range(mask.shape[0]):
        for start, stop in _runs(mask[row]):
            above = np.unique(labels[row - 1, start:stop]) if row else np.zeros(1, np.int64)
            found = {root(int(label)) for label in above if label}
            label = min(found, default=len(parents))
            if not found:
                parents.append(label)
            for other in found:
                parents[other] = label
            labels[row, start:stop] = label
    roots = np.array([root(label) for label in range(len(parents))])
    numbers, numbered = np.unique(roots, return_inverse=True)
    return numbered[labels], len(numbers) - 1


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _rings(mask: NDArray[np.bool_], labels: NDArray[np.int64]) -> list[tuple[Ring, int]]:
    """Follow the sides between the mask and the rest, with the mask on the right hand."""
    padded = np.pad(mask, 1)
    sides: dict[tuple[int, int], dict[int, int]] = {}

    def add(found: NDArray[np.bool_], dx: int, dy: int, direction: int, cell: tuple[int, int]) -> None:
        for row, col in np.argwhere(found).tolist():
            label = int(labels[row + cell[0], col + cell[1]])
            sides.setdefault((col + dx, row + dy), {})[direction] = label

    inner = padded[1:-1, 1:-1]
    add(inner & ~padded[:-2, 1:-1], 0, 0, _EAST, (0, 0))
    add(inner & ~padded[2:, 1:-1], 1, 1, _WEST, (0, 0))
    add(inner & ~padded[1:-1, 2:], 1, 0, _SOUTH, (0, 0))
    add(inner & ~padded[1:-1, :-2], 0, 1, _NORTH, (0, 0))
    rings = []
    while sides:
        start = next(iter(sides))
        rings.append(_follow(sides, start))
    return rings


def _follow(sides: dict[tuple[int, int], dict[int, int]], start: tuple[int, int]) -> tuple[Ring, int]:
    """Take the sides of one ring out of `sides`; only corners are kept.

    Where two cells of the mask touch at a corner, the ring passes on to the other cell if both are of one component,
    which parts a hole from the outside, and else stays with its own.
    """
    direction, label = next(iter(sides[start].items()))
    point, ring = start, [start]
    while True:
        del sides[point][direction]
        if not sides[point]:
            del sides[point]
        point = (point[0] + _STEPS[direction][0], point[1] + _STEPS[direction][1])
        if point == start:
            break
        left, right = (direction - 1) % 4, (direction + 1) % 4
        turned = next(turn for turn in (left, direction, right) if sides[point].get(turn) == label)
        if turned != direction:
            ring.append(point)
        direction = turned
    return [*ring, start], label


def _area(ring: Ring) -> float:
    """Signed area; positive for a ring that runs clockwise on the screen (y down)."""
    x, y = np.array(ring, float).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
