"""Pictures for the cases: smooth, so that decoders agree closely; of different colours everywhere, so that nothing can
be taken for something else; with white and black in them, so that what a reader fills in shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agreement.cases import Case
from agreement.reference import area_mean

Bytes = NDArray[np.uint8]

_PALETTE = np.random.default_rng(5).integers(0, 256, (256, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Stored:
    """One level as it is written: (rows, cols, samples), not turned; the (rows, cols) of its tiles; which are there."""

    downsample: float
    samples: Bytes
    tile: tuple[int, int]
    written: NDArray[np.bool_]

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which pixels lie in tiles that are there."""
        each = np.repeat(np.repeat(self.written, self.tile[0], axis=0), self.tile[1], axis=1)
        return each[: self.samples.shape[0], : self.samples.shape[1]]


def levels_of(case: Case) -> list[Stored]:
    """All levels of a case: each is the area mean of the first."""
    first = _samples(case)
    hole = _hole(case, first.shape)
    if case.sparse == "all":
        first[hole] = 0 if case.layout == "white-is-zero" else case.background
    found = []
    for number, downsample in enumerate((1.0, *case.downsamples)):
        samples = first if number == 0 else _reduced(first, downsample, case.rounding)
        tile = tile_of(case, samples.shape)
        written = _written(case, number, samples.shape, tile, hole)
        found.append(Stored(float(downsample), samples, tile, written))
    return found


def _hole(case: Case, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns that are left out at every level: whole tiles of the first level, never all of them."""
    rng = np.random.default_rng((case.seed, 3))
    tile, found = tile_of(case, shape), []
    for side, step in zip(shape[:2], tile, strict=True):
        count = -(-side // step)
        start = int(rng.integers(0, count))
        stop = int(rng.integers(start, count + 1))
        found.append((start * step, min(stop * step, side), side))
    if all(stop - start == side for start, stop, side in found):
        found[0] = (0, 0, shape[0])
    return slice(*found[0][:2]), slice(*found[1][:2])


def tile_of(case: Case, shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, cols) of the tiles of a level."""
    cols, rows = case.tile
    return (rows, cols) if cols else (min(rows, shape[0]), shape[1])


def _reduced(first: Bytes, downsample: float, rounding: str) -> Bytes:
    size = [
        getattr(math, rounding)(side / downsample + (1e-9 if rounding == "floor" else -1e-9))
        for side in first.shape[:2]
    ]
    return rounded(area_mean(first, downsample, (max(1, size[0]), max(1, size[1]))))


def rounded(values: NDArray[Any]) -> Bytes:
    out: Bytes = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return out


def _samples(case: Case) -> Bytes:
    rng = np.random.default_rng(case.seed)
    shape = case.height, case.width
    rgb = np.stack([_wave(rng, shape) for _ in range(3)], axis=2)
    texture = rng.normal(0, 4, (*shape, 3))
    if case.detail == "colours":
        # Little is cut off at black and white: of what is, the chroma cannot be told from the pixels.
        rgb = 85 + rgb * (85 / 255)
        texture += _hues(rng, shape)
    pixels = np.clip(rgb + texture, 0, 255)
    for colour in (255.0, 0.0):
        pixels += (colour - pixels) * _patch(rng, shape)[..., None]
    out = rounded(pixels)
    if case.layout in ("grey", "white-is-zero"):
        return out[..., :1]
    if case.layout == "palette":
        return out[..., :1]
    if case.layout == "rgba":
        return np.dstack([out, rounded(220 + 30 * _wave(rng, shape) / 255)])
    if case.layout == "rgb-and-infrared":
        return np.dstack([out, rounded(_wave(rng, shape))])
    return out


def _wave(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A gradient and a few long waves, from about 20 to about 235."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    total = np.full(shape, 127.0)
    for _ in range(3):
        length, angle, phase = rng.uniform(90, 400), rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
        total += 36 * np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / length + phase)
    return total


def _hues(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Short waves of Cb and of Cr, (rows, cols, 3) as RGB: the luminance stays as it is."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    chroma = []
    for _ in range(2):
        length, angle = rng.uniform(14, 24), rng.uniform(0, 2 * math.pi)
        chroma.append(40 * np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / length))
    cb, cr = chroma
    return np.stack([1.402 * cr, -0.344 * cb - 0.714 * cr, 1.772 * cb], axis=2)


def _patch(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """1 in a soft disc somewhere, 0 outside."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    at, radius = rng.uniform(0, 1, 2) * shape, rng.uniform(0.1, 0.25) * max(shape)
    distance = np.hypot(y - at[0], x - at[1])
    soft: NDArray[np.float64] = np.clip((radius - distance) / 24 + 0.5, 0, 1)
    return soft


def _written(
    case: Case, number: int, shape: tuple[int, ...], tile: tuple[int, int], hole: tuple[slice, slice]
) -> NDArray[np.bool_]:
    """Which tiles of a level are written: of those under the hole, the ones that lie in it altogether are not."""
    grid = -(-shape[0] // tile[0]), -(-shape[1] // tile[1])
    if case.sparse == "lower" and number > 0:
        there = np.random.default_rng((case.seed, 7, number)).random(grid) > 0.4
        there[-1, -1] |= not there.any()  # a level of nothing is none
        return there
    downsample = (1.0, *case.downsamples)[number]
    inside = []
    for axis, (count, side, whole) in enumerate(zip(grid, tile, (case.height, case.width), strict=True)):
        begin = np.arange(count) * side * downsample
        end = np.minimum(begin + side * downsample, whole)
        inside.append((hole[axis].start <= begin) & (end <= hole[axis].stop))
    there = ~np.logical_and.outer(*inside)
    return there if case.sparse == "all" else np.ones(grid, dtype=np.bool_)


def shown(case: Case, samples: Bytes) -> Bytes:
    """(rows, cols, 3): the colours that samples mean, by the words of the layout."""
    if case.layout == "palette":
        return _PALETTE[samples[..., 0]]
    if case.layout == "white-is-zero":
        return np.repeat(255 - samples[..., :1], 3, axis=2)
    if case.layout == "grey":
        return np.repeat(samples[..., :1], 3, axis=2)
    if case.layout == "rgba":
        alpha = samples[..., 3:].astype(float) / 255
        return rounded(samples[..., :3] * alpha + 255 * (1 - alpha))
    return samples[..., :3]


def palette() -> Bytes:
    return _PALETTE
