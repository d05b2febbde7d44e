"""The one resampling function: every pixel that leaves a slide at another scale goes through here.

Source pixel s covers [s, s + 1). Output pixel i is centred on `start + (i + 0.5) * scale` and is the mean of the
source over a box of width max(scale, 1) around that centre, each source pixel weighed by its overlap. Shrinking,
that is the exact area average; enlarging, it is exactly bilinear interpolation. It is separable: one `Taps` an axis.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 16


class Taps(NamedTuple):
    """Which source pixels make each output pixel of one axis: `source` and `weight` are (count, taps).

    `first` and `stop` bound the source pixels needed; `source` counts from `first`. `block` is the scale where pixels
    lie on pixels (0 where they do not); the leading `full` output pixels are then the mean of `block` whole source
    pixels in a row.
    """

    source: NDArray[np.intp]
    weight: NDArray[np.float32]
    first: int
    stop: int
    block: int = 0
    full: int = 0

    def part(self, start: int, stop: int) -> Taps:
        """The taps of output pixels start to stop, over the same source; never by blocks."""
        return Taps(self.source[start:stop], self.weight[start:stop], self.first, self.stop)


def axis_taps(
    start: float, scale: float, count: int, size: int, extent: float, normalise: bool, skip: int = 0
) -> Taps | None:
    """The taps of output pixels `skip` to `skip + count`; pixel 0 begins at `start`, in source pixels.

    `size` is how many source pixels there are; `extent` where the slide really ends, in source pixels. Writers
    round a level's size, so the two differ by a pixel at most: the last source pixel stands for all up to `extent`.
    With `normalise`, the weights of what exists sum to 1; without, what is missing lies outside the slide.
    None if nothing of it is inside.
    """
    whole = math.floor(start) - 1
    if not skip and whole >= 0 and start + count * scale + 1 <= min(size, extent):
        # Well inside, only the fraction matters, and tiles with whole corners all share one: a tile is many taps.
        t = _taps_inside(start - whole, scale, count)
        return Taps(t.source, t.weight, t.first + whole, t.stop + whole, t.block, t.full)
    return _taps_at(start, scale, count, size, extent, normalise, skip)


@lru_cache(maxsize=64)
def _taps_inside(start: float, scale: float, count: int) -> Taps:
    taps = _taps_at(start, scale, count, 1 << 40, math.inf, False, 0)
    assert taps is not None  # nothing is outside
    return taps


def _taps_at(
    start: float, scale: float, count: int, size: int, extent: float, normalise: bool, skip: int
) -> Taps | None:
    i = np.arange(skip, skip + count, dtype=np.float64)
    half = max(scale, 1.0) / 2
    # An edge is computed as start + i * scale for both its neighbours, so that no rounding leaves a gap.
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
        # An output pixel wholly beyond the edge (by rounding of its count) takes the nearest pixel.
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
    # Taps of weight zero may point anywhere; keep them inside what will be read.
    index = np.clip(index, lowest, highest) - lowest
    if not used[:, -1].any():
        index, weight = index[:, :-1], weight[:, :-1]
    block = full = 0
    if scale == round(scale) and start == round(start) and first[0] >= 0:
        block = int(scale)
        full = int(np.count_nonzero(first + block <= min(size, extent)))
    return Taps(index, weight.astype(np.float32), lowest, highest + 1, block, full)


def resample(source: NDArray[np.uint8], rows: Taps, cols: Taps, fill: int | None = None) -> NDArray[np.uint8]:
    """Resample `source` (rows.stop - rows.first, cols.stop - cols.first, 3), the part the taps need.

    Returns (count, count, 3) uint8, rounded to nearest. `fill` is the grey of what the weights leave out.
    """
    block = rows.block
    if not (block and block == cols.block and rows.full and cols.full):
        return _weigh(source, rows, cols, fill)
    # The interior by blocks, the last row and column by weights. Which way a pixel goes depends on the pixel
    # alone, so that a strip of a view has the values of the whole.
    height, width = len(rows.source), len(cols.source)
    middle = _mean_of_blocks(source[: rows.full * block, : cols.full * block], block)
    if rows.full == height and cols.full == width:
        return middle
    out = np.empty((height, width, 3), dtype=np.uint8)
    out[: rows.full, : cols.full] = middle
    out[:, cols.full :] = _weigh(source, rows.part(0, height), cols.part(cols.full, width), fill)
    out[rows.full :, : cols.full] = _weigh(source, rows.part(rows.full, height), cols.part(0, cols.full), fill)
    return out


def _weigh(source: NDArray[np.uint8], rows: Taps, cols: Taps, fill: int | None) -> NDArray[np.uint8]:
    height, width, channels = source.shape
    col_weight = cols.weight[..., None]
    flat = source.reshape(height, width * channels)
    out = np.empty((len(rows.source), len(cols.source), channels), dtype=np.uint8)
    # A few rows at a time, so that what is in between stays in the processor's cache.
    for start in range(0, len(rows.source), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        narrow = _apply(flat, rows.source[some], rows.weight[some, :, None]).reshape(-1, width, channels)
        turned = np.empty((width, channels, len(narrow)), dtype=np.float32)
        for channel in range(channels):  # one by one, as turning pixels of three numbers takes numpy four times as long
            turned[:, channel] = narrow[..., channel].T
        mean = _apply(turned.reshape(width, -1), cols.source, col_weight).reshape(-1, channels, len(narrow))
        if fill is not None:
            covered = np.outer(cols.weight.sum(axis=1), rows.weight[some].sum(axis=1))
            mean += np.float32(fill) * (1 - covered)[:, None]
        rounded = to_uint8(mean)
        for channel in range(channels):
            out[some, :, channel] = rounded[:, channel].T
    return out


def to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round to nearest; a hair over a half, as one half in float32 may come out a hair under."""
    out: NDArray[np.uint8] = np.clip(values + np.float32(0.5001), 0, 255).astype(np.uint8)
    return out


def _apply(source: NDArray[Any], index: NDArray[np.intp], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weigh and add rows of `source` (rows, n), one pass a tap: (count, taps), (count, taps, 1) -> (count, n)."""
    total: NDArray[np.float32] = source[index[:, 0]] * weight[:, 0]
    product = np.empty_like(total)
    for tap in range(1, index.shape[1]):
        np.multiply(source[index[:, tap]], weight[:, tap], out=product)
        total += product
    return total


def _mean_of_blocks(source: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """The mean of `block` x `block` squares, exact: summed in integers, halves round up."""
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
    """Means of squares of `side` pixels; the last of a row and of a column of what there is of it."""
    down, across = (axis_taps(0.0, float(side), -(-n // side), n, n, normalise=True) for n in pixels.shape[:2])
    assert down is not None and across is not None
    return resample(pixels, down, across)
