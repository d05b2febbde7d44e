"""Resampling: every pixel that leaves a slide at another scale is computed here.

Source pixel s covers [s, s + 1). Output pixel i is centred on `start + (i + 0.5) * scale` and is the mean of the
source over a box of width max(scale, 1) around that centre, each source pixel weighted by its overlap. This is
the exact area average for shrinking, and exactly bilinear interpolation for enlarging. It is separable: one `Taps` per
axis.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 16


class Taps(NamedTuple):
    """The source pixels and weights of each output pixel along one axis.

    source, weight: (count, taps). Sources count from `first`.
    first, stop: the source pixels needed, [first, stop).
    block: the scale, if output pixels are means of whole source pixels; else 0.
    full: the number of leading output pixels that are means of `block` whole source pixels.
    """

    source: NDArray[np.intp]
    weight: NDArray[np.float32]
    first: int
    stop: int
    block: int = 0
    full: int = 0

    def part(self, start: int, stop: int) -> Taps:
        """Return the taps of output pixels [start, stop) over the same source, without blocks."""
        return Taps(self.source[start:stop], self.weight[start:stop], self.first, self.stop)


def axis_taps(
    start: float, scale: float, count: int, size: int, extent: float, normalise: bool, skip: int = 0
) -> Taps | None:
    """Return the taps of output pixels [skip, skip + count); None if all of them lie outside the slide.

    start: where output pixel 0 begins, in source pixels.
    size: number of source pixels.
    extent: where the slide ends, in source pixels. Writers round a level's size, so it differs from `size` by up to one
        pixel; the last source pixel covers the rest.
    normalise: whether weights sum to 1. If not, the missing weight is outside the slide.
    """
    whole = math.floor(start) - 1
    if not skip and whole >= 0 and start + count * scale + 1 <= min(size, extent):
        # Inside the slide only the fraction of `start` matters, so tiles can share cached taps.
        t = _taps_inside(start - whole, scale, count)
        return Taps(t.source, t.weight, t.first + whole, t.stop + whole, t.block, t.full)
    return _taps_at(start, scale, count, size, extent, normalise, skip)


@lru_cache(maxsize=64)
def _taps_inside(start: float, scale: float, count: int) -> Taps:
    taps = _taps_at(start, scale, count, 1 << 40, math.inf, False, 0)
    assert taps is not None  # no pixel is outside
    return taps


def _taps_at(
    start: float, scale: float, count: int, size: int, extent: float, normalise: bool, skip: int
) -> Taps | None:
    i = np.arange(skip, skip + count, dtype=np.float64)
    half = max(scale, 1.0) / 2
    # Both neighbours compute their edge as start + i * scale, so rounding leaves no gap.
    if scale >= 1:
        low, high = start + i * scale, start + (i + 1) * scale
    else:
        low, high = start + (i + 0.5) * scale - half, start + (i + 0.5) * scale + half
    first = np.floor(low).astype(np.intp)
    taps = int(np.ceil(2 * half)) + 1
    s = first[:, None] + np.arange(taps)
    inside_low = np.maximum(np.maximum(s, low[:, None]), 0.0)
    inside_high = np.minimum(np.minimum(s + 1, high[:, None]), extent)
    weight = np.maximum(inside_high - inside_low, 0.0)
    if normalise:
        # An output pixel beyond the edge, from rounding of the count, takes the nearest source pixel.
        empty = weight.sum(axis=1) <= 0
        weight[empty, 0] = 1.0
        weight /= weight.sum(axis=1, keepdims=True)
    else:
        weight /= 2 * half
    used = weight > 1e-9
    if not used.any():
        return None
    index = np.clip(s, 0, size - 1)
    lowest, highest = int(index[used].min()), int(index[used].max())
    # Taps of weight zero may point anywhere; keep them inside the source pixels needed.
    index = np.clip(index, lowest, highest) - lowest
    if not used[:, -1].any():
        index, weight = index[:, :-1], weight[:, :-1]
    block = full = 0
    if scale == round(scale) and start == round(start) and first[0] >= 0:
        block = int(scale)
        full = int(np.count_nonzero(first + block <= min(size, extent)))
    return Taps(index, weight.astype(np.float32), lowest, highest + 1, block, full)


def resample(source: NDArray[np.uint8], rows: Taps, cols: Taps, fill: int | None = None) -> NDArray[np.uint8]:
    """Resample `source` to (count of rows, count of cols, 3) uint8, rounded to nearest.

    source: (rows.stop - rows.first, cols.stop - cols.first, 3), the pixels that the taps need.
    fill: grey of the missing weight.
    """
    block = rows.block
    if not (block and block == cols.block and rows.full and cols.full):
        return _weighted(source, rows, cols, fill)
    # Compute the interior by blocks, and the last row and column by weights. The choice depends on the pixel alone, so
    # a strip of a view has the values of the whole view.
    height, width = len(rows.source), len(cols.source)
    middle = _mean_of_blocks(source[: rows.full * block, : cols.full * block], block)
    if rows.full == height and cols.full == width:
        return middle
    out = np.empty((height, width, 3), dtype=np.uint8)
    out[: rows.full, : cols.full] = middle
    out[:, cols.full :] = _weighted(source, rows.part(0, height), cols.part(cols.full, width), fill)
    out[rows.full :, : cols.full] = _weighted(source, rows.part(rows.full, height), cols.part(0, cols.full), fill)
    return out


def _weighted(source: NDArray[np.uint8], rows: Taps, cols: Taps, fill: int | None) -> NDArray[np.uint8]:
    height, width, channels = source.shape
    col_weight = cols.weight[..., None]
    flat = source.reshape(height, width * channels)
    out = np.empty((len(rows.source), len(cols.source), channels), dtype=np.uint8)
    # A few rows at a time, so that intermediate values stay in the processor's cache.
    for start in range(0, len(rows.source), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        narrow = _apply(flat, rows.source[some], rows.weight[some, :, None]).reshape(-1, width, channels)
        transposed = np.empty((width, channels, len(narrow)), dtype=np.float32)
        for channel in range(channels):  # one by one: numpy takes four times as long to transpose all three
            transposed[:, channel] = narrow[..., channel].T
        mean = _apply(transposed.reshape(width, -1), cols.source, col_weight).reshape(-1, channels, len(narrow))
        if fill is not None:
            covered = np.outer(cols.weight.sum(axis=1), rows.weight[some].sum(axis=1))
            mean += np.float32(fill) * (1 - covered)[:, None]
        rounded = to_uint8(mean)
        for channel in range(channels):
            out[some, :, channel] = rounded[:, channel].T
    return out


def to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round to nearest. Adds slightly more than a half, since a half in float32 may be slightly less."""
    out: NDArray[np.uint8] = np.clip(values + np.float32(0.5001), 0, 255).astype(np.uint8)
    return out


def _apply(source: NDArray[Any], index: NDArray[np.intp], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add weighted rows of `source` (rows, n). index: (count, taps); weight: (count, taps, 1). Returns (count, n)."""
    total: NDArray[np.float32] = source[index[:, 0]] * weight[:, 0]
    product = np.empty_like(total)
    for tap in range(1, index.shape[1]):
        np.multiply(source[index[:, tap]], weight[:, tap], out=product)
        total += product
    return total


def _mean_of_blocks(source: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Return the means of `block` x `block` squares, exact: integer sums, halves rounded up."""
    if block == 1:
        return source
    height, width, channels = source.shape
    columns = np.zeros((height // block, width, channels), dtype=np.uint32)
    for k in range(block):
        columns += source[k::block]
    total = np.zeros((height // block, width // block, channels), dtype=np.uint32)
    for k in range(block):
        total += columns[:, k::block]
    area = block * block
    mean: NDArray[np.uint8] = ((2 * total + area) // (2 * area)).astype(np.uint8)
    return mean


def square_means(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the means of squares of `side` pixels; at the edge, of the part of the square inside."""
    down, across = (axis_taps(0.0, float(side), -(-n // side), n, n, normalise=True) for n in pixels.shape[:2])
    assert down is not None and across is not None
    return resample(pixels, down, across)
