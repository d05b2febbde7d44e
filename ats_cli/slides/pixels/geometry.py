"""Arithmetic of pixels and scales, along one axis."""

from __future__ import annotations

import math
from collections.abc import Iterator


def pixels_across(length: int, downsample: float) -> int:
    """Pixels that cover `length`; a last one that would cover only rounding error is not counted."""
    if not (math.isfinite(downsample) and downsample > 0):
        raise ValueError(f"a downsample must be above 0, not {downsample}")
    return max(1, math.ceil(length / downsample - 1e-6))


def snap(scale: float) -> float:
    """`scale`, without the rounding error of the division that gave it."""
    whole = float(round(scale))
    return whole if whole and abs(scale - whole) <= 1e-9 * whole else scale


def edges(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut [start, stop) at the multiples of `step`."""
    while start < stop:
        end = min(stop, (start // step + 1) * step)
        yield start, end
        start = end


def touched(start: int, length: int, size: int, scale: float, within: tuple[int, int]) -> tuple[int, int]:
    """The pixels of a view, of those `within`, that pixels [start, start + length) of a level of `size` are part of."""
    # Where the view is finer than the level, a pixel is made of its neighbours too.
    spread = 0 if scale >= 1 else 1
    first, stop = math.floor((start - spread) / scale), math.ceil((start + length + spread) / scale)
    if start + length >= size:  # of a level whose size was rounded down, the last pixel stands for what is behind it
        stop = within[1]
    return min(max(first, within[0]), within[1] - 1), max(min(stop, within[1]), within[0] + 1)
