"""Arithmetic of pixels and scales along one axis."""

from __future__ import annotations

import math
from collections.abc import Iterator


def pixels_across(length: int, downsample: float) -> int:
    """Return the number of pixels that cover `length`, without a last one that covers only rounding error."""
    if not (math.isfinite(downsample) and downsample > 0):
        raise ValueError(f"a downsample must be above 0, not {downsample}")
    return max(1, math.ceil(length / downsample - 1e-6))


def snap(scale: float) -> float:
    """Return `scale` without the rounding error of a division."""
    whole = float(round(scale))
    return whole if whole and abs(scale - whole) <= 1e-9 * whole else scale


def edges(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) cut at the multiples of `step`."""
    while start < stop:
        end = min(stop, (start // step + 1) * step)
        yield start, end
        start = end


def touched(start: int, length: int, size: int, scale: float, within: tuple[int, int]) -> tuple[int, int]:
    """Return the view pixels, inside `within`, that use level pixels [start, start + length). `size`: of the level."""
    # If the view is finer than the level, its pixels are interpolated from neighbours too.
    spread = 0 if scale >= 1 else 1
    first, stop = math.floor((start - spread) / scale), math.ceil((start + length + spread) / scale)
    if start + length >= size:  # if the level's size was rounded down, its last pixel covers the rest
        stop = within[1]
    return min(max(first, within[0]), within[1] - 1), max(min(stop, within[1]), within[0] + 1)
