"""What should be seen: area means of the levels of an independent decode, in float64, by the words of the documents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LUMA = np.array([0.299, 0.587, 0.114])
# JPEG adds a little to black.
_BLACK = 8


@dataclass(frozen=True)
class Truth:
    """One level, upright: its colours (rows, cols, 3), and which pixels of it the file holds, (rows, cols)."""

    downsample: float
    pixels: NDArray[np.uint8]
    held: NDArray[np.bool_]


def area_mean(pixels: NDArray[Any], scale: float, size: tuple[int, int]) -> Floats:
    """`size` (rows, cols) squares of side `scale` from the corner on, each the mean of what lies on the picture."""
    down = _normalised(_overlaps(0, scale, size[0], pixels.shape[0], pixels.shape[0]))
    across = _normalised(_overlaps(0, scale, size[1], pixels.shape[1], pixels.shape[1]))
    return _weigh(pixels, down, across)


def complete(levels: list[Truth], background: int) -> list[Truth]:
    """Levels without gaps: what one lacks is taken from the next finer, and is background where none has it.

    Where the first level holds nothing, GDAL builds the lower ones from black, which stands for the background too.
    """
    found: list[Truth] = []
    for level in levels:
        pixels, filling = level.pixels, np.full(level.pixels.shape, float(background))
        if found:
            size = pixels.shape[0], pixels.shape[1]
            filling = _view(found[-1], level.downsample / found[-1].downsample, size, levels[0].pixels.shape[:2])
            nothing = area_mean(levels[0].held[..., None], level.downsample, size)[..., 0] == 0
            black = nothing & (pixels.max(axis=2) <= _BLACK) & (background > _BLACK)
            pixels = np.where(black[..., None], np.uint8(background), pixels)
        whole = np.where(level.held[..., None], pixels, np.floor(filling + 0.5)).astype(np.uint8)
        found.append(Truth(level.downsample, whole, level.held))
    return found


def finer_level(levels: list[Truth], downsample: float) -> Truth:
    """The coarsest level that is as fine as `downsample`, or finer; else the finest."""
    fine = [level for level in levels if level.downsample <= downsample * (1 + 1e-6)]
    return max(fine or levels[:1], key=lambda level: level.downsample)


def view_shape(levels: list[Truth], downsample: float) -> tuple[int, int]:
    rows, cols = (max(1, math.ceil(side / downsample - 1e-6)) for side in levels[0].pixels.shape[:2])
    return rows, cols


def view_of(levels: list[Truth], level: Truth, downsample: float) -> Floats:
    """The view at `downsample`, from one of the levels."""
    shape = view_shape(levels, downsample)
    return _view(level, downsample / level.downsample, shape, levels[0].pixels.shape[:2])


def finer_than(levels: list[Truth], level: Truth) -> list[Truth]:
    return [other for other in levels if other.downsample < level.downsample]


def reduced(level: Truth, by: int) -> Truth:
    """A level that is the mean of another's squares of side `by`; the last ones of what there is."""
    rows, cols = (-(-side // by) for side in level.pixels.shape[:2])
    pixels = np.floor(area_mean(level.pixels, by, (rows, cols)) + 0.5).astype(np.uint8)
    return Truth(level.downsample * by, pixels, np.ones((rows, cols), dtype=np.bool_))


def with_repeated_chroma(level: Truth, tile: tuple[int, int], subsampling: tuple[int, int]) -> Truth:
    """A level of JPEG as it is where each sample of its chroma is repeated over the pixels that it stands for.

    `level` is a whole decode, which interpolates chroma within each tile (width, height): an eighth of the mean over
    such a group of pixels comes from either neighbour. A decode at a part of the size has no pixels to interpolate.
    """
    luma = (level.pixels @ _LUMA)[..., None]
    chroma = level.pixels - luma
    for axis, (by, side) in enumerate(zip(subsampling[::-1], tile[::-1], strict=True)):
        if by == 2:
            along = np.moveaxis(chroma, axis, 0)
            parts = [_repeated(along[start : start + side]) for start in range(0, len(along), side)]
            chroma = np.moveaxis(np.concatenate(parts), 0, axis)
    pixels = np.clip(np.floor(luma + chroma + 0.5), 0, 255).astype(np.uint8)
    return Truth(level.downsample, pixels, level.held)


def _repeated(interpolated: Floats) -> Floats:
    count = len(interpolated)
    even = np.concatenate([interpolated, interpolated[-1:]]) if count % 2 else interpolated
    means = even.reshape(-1, 2, *even.shape[1:]).mean(axis=1)
    # Three quarters of a pixel are of its own sample, a quarter of the nearer neighbour's; at the ends all of its own.
    of_samples = np.eye(len(means)) * 6 + np.eye(len(means), k=1) + np.eye(len(means), k=-1)
    of_samples[0, 0] += 1
    of_samples[-1, -1] += 1
    samples = np.linalg.solve(of_samples / 8, means.reshape(len(means), -1)).reshape(means.shape)
    return np.repeat(samples, 2, axis=0)[:count]


def tile_of(
    levels: list[Truth], level: Truth, box: tuple[float, float, float, float], size: int, fill: int = 255
) -> Floats:
    """The patch of a box in level-0 pixels, from one of the levels: area means when shrinking, bilinear when enlarging;
    fill outside."""
    x, y, width, height = box
    extent = [side / level.downsample for side in levels[0].pixels.shape[:2]]
    weights = []
    for start, length, side, reach in zip((y, x), (height, width), level.pixels.shape[:2], extent, strict=True):
        begin, scale = start / level.downsample, length / level.downsample / size
        if scale < 1:  # the square of one pixel about the centre of each
            centres = begin + (np.arange(size) + 0.5) * scale
            weights.append(_between(centres - 0.5, centres + 0.5, side, reach))
        else:
            weights.append(_overlaps(begin, scale, size, side, reach) / scale)
    down, across = weights
    covered = np.outer(down.sum(1), across.sum(1))[..., None]
    return _weigh(level.pixels, down, across) + fill * (1 - covered)


def contrast(pixels: NDArray[Any], scale: float, size: tuple[int, int]) -> Floats:
    """How far the values under each square of side `scale`, and under those next to it, lie apart; (rows, cols, 1)."""
    low = high = pixels
    for axis, count in enumerate(size):
        starts = np.minimum((np.arange(count) * scale).astype(int), pixels.shape[axis] - 1)
        low = _next_to(np.minimum.reduceat(low, starts, axis=axis), axis, np.minimum)
        high = _next_to(np.maximum.reduceat(high, starts, axis=axis), axis, np.maximum)
    spread: Floats = (high - low).max(axis=2, keepdims=True).astype(float)
    return spread


def block_contrast(pixels: NDArray[Any], tile: tuple[int, int], scale: float, size: tuple[int, int]) -> Floats:
    """How far the values lie apart in the blocks of 16 x 16 under each square of side `scale`: what a cosine transform
    of them may mix. Beyond the edge tiles are filled up with black, which is mixed in too; (rows, cols, 1)."""
    rows, cols = (-side % step for side, step in zip(pixels.shape[:2], tile[::-1], strict=True))
    padded = np.pad(pixels, [(0, min(rows, 16)), (0, min(cols, 16)), (0, 0)])
    blocks = contrast(padded, 16, (-(-padded.shape[0] // 16), -(-padded.shape[1] // 16)))
    down, across = (
        np.minimum((np.arange(n) * scale).astype(int) // 16, blocks.shape[axis] - 1) for axis, n in enumerate(size)
    )
    found: Floats = blocks[down[:, None], across[None, :]]
    return found


def _next_to(values: NDArray[Any], axis: int, extreme: Any) -> NDArray[Any]:
    """The extreme of each and its two neighbours along an axis."""
    found = values.copy()
    first, last = [slice(None)] * 3, [slice(None)] * 3
    first[axis], last[axis] = slice(None, -1), slice(1, None)
    before, after = tuple(first), tuple(last)
    extreme(found[after], values[before], out=found[after])
    extreme(found[before], values[after], out=found[before])
    return found


def _view(level: Truth, scale: float, shape: tuple[int, ...], whole: tuple[int, ...]) -> Floats:
    down, across = (
        _normalised(_overlaps(0, scale, n, side, full / level.downsample))
        for n, side, full in zip(shape, level.pixels.shape[:2], whole, strict=True)
    )
    return _weigh(level.pixels, down, across)


def _overlaps(start: float, scale: float, count: int, size: int, extent: float) -> Floats:
    edges = start + np.arange(count + 1) * scale
    return _between(edges[:-1], edges[1:], size, extent)


def _between(low: Floats, high: Floats, size: int, extent: float) -> Floats:
    """(intervals, size): how much of each pixel an interval covers. The picture ends at `extent`: the last pixel
    reaches so far, or is cut there."""
    left = np.arange(size, dtype=float)
    right = left + 1
    right[-1] = max(extent, size)
    right, left = np.minimum(right, extent), np.minimum(left, extent)
    covered: Floats = np.maximum(np.minimum(high[:, None], right) - np.maximum(low[:, None], left), 0.0)
    return covered


def _normalised(weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(total > 0, weights, 0)
    weights[total[:, 0] <= 0, -1] = 1.0
    normalised: Floats = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _weigh(pixels: NDArray[Any], down: Floats, across: Floats) -> Floats:
    half = np.tensordot(down, pixels.astype(float), axes=(1, 0))
    found: Floats = np.tensordot(half, across, axes=(1, 1)).transpose(0, 2, 1)
    return found
