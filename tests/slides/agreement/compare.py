"""Every disagreement of a slide with what should be seen, as a sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from agreement.cases import Case
from agreement.reference import (
    Floats,
    Truth,
    area_mean,
    block_contrast,
    contrast,
    finer_level,
    finer_than,
    reduced,
    tile_of,
    view_of,
    with_repeated_chroma,
)
from agreement.writers import Written, write
from ats_cli.errors import SlideError
from ats_cli.slides import Slide, open_slide

DOWNSAMPLES = (1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 10.0, 16.0)
_TILES = 8
# Two decoders of one JPEG differ by so much at most; and, where both round the same means, by so much in the mean of a
# view, and of any square of its pixels.
_LOSSY = 3.0
_MEAN, _MEAN_OF_A_SQUARE, _SQUARE = 0.8, 1.8, 8
# A block decoded at a part of its size has its low frequencies, which are near its means but not these: by so much of
# the contrast within a block may a single pixel be off.
_OF_CONTRAST = 0.05
# The same where a tile is filled up beside the image: chroma is then a mean of image and filling.
_OF_FILLING = 0.35
# Where a decode at a part of the size may be so far from the mean of the whole one.
_UNLIKE = 64.0
_REFUSED = "--plane c="


def disagreements(case: Case) -> list[str]:
    """Write the case, read it, compare. Empty where all agrees."""
    with tempfile.TemporaryDirectory() as folder:
        written = write(case, Path(folder))
        try:
            with open_slide(written.path) as slide:
                if case.channels == "fluorescence":
                    return ["three channels of fluorescence are shown as red, green and blue"]
                return list(_all(case, slide, written))
        except SlideError as error:
            if case.channels == "fluorescence" and _REFUSED in str(error):
                return []
            return [f"refused: {error}"]
        except Exception as error:  # of whatever kind: a user would see a traceback
            return [f"{type(error).__name__}: {error}"]


def _all(case: Case, slide: Slide, written: Written) -> Iterator[str]:
    levels = written.levels
    size = slide.height, slide.width
    if size != levels[0].pixels.shape[:2]:
        yield f"{size[0]} x {size[1]} pixels, not {levels[0].pixels.shape[0]} x {levels[0].pixels.shape[1]}"
        return
    found = [(lv.height, lv.width, round(lv.downsample, 2)) for lv in slide.levels]
    expected = [(*level.pixels.shape[:2], round(level.downsample, 2)) for level in levels]
    if found != expected:
        yield f"levels (rows, cols, downsample) {found}, not {expected}"
        return
    codec = _LOSSY if case.lossy else 0.0
    for number, level in enumerate(levels):
        yield from _level(slide, number, level, codec)
    first = slide.read_view(1.0, threads=_threads(case))
    for downsample in DOWNSAMPLES:
        yield from _view(case, slide, levels, downsample, first, codec)
    yield from _tiles(case, slide, levels, codec)


def _level(slide: Slide, number: int, level: Truth, codec: float) -> Iterator[str]:
    """A level as it is stored, where it is."""
    height, width = level.pixels.shape[:2]
    (region,) = slide.scan_level(number, [(0, 0, width, height)], 2)
    expected = level.pixels
    if number and not level.held.all():  # what is not there is not compared here, but in views and tiles
        skipped = ~level.held
        for x, y, w, h in (box for box, _ in region.damage):
            skipped[y : y + h, x : x + w] = True
        expected = np.where(skipped[..., None], region.pixels, expected)
    yield from _differ(f"level {number}", region.pixels, [expected], codec)


def _view(
    case: Case, slide: Slide, levels: list[Truth], downsample: float, first: NDArray[np.uint8], codec: float
) -> Iterator[str]:
    name, seen, level = (
        f"view at {downsample:g}",
        slide.read_view(downsample, threads=_threads(case)),
        finer_level(levels, downsample),
    )
    expected = [view_of(levels, level, downsample)]
    shape = (expected[0].shape[0], expected[0].shape[1])
    if seen.shape[:2] != shape:
        yield f"{name}: {seen.shape[0]} x {seen.shape[1]} pixels, not {shape[0]} x {shape[1]}"
        return
    slack, mean, single = np.full((*shape, 1), codec + 0.51), None, np.zeros((*shape, 1))
    if not level.held.all():
        expected += [view_of(levels, finer, downsample) for finer in finer_than(levels, level)]
        slack = slack + 1
    scale = downsample / level.downsample
    if case.codec.startswith("jpeg-") and scale >= 2:
        # Decoded at a part of its size, a JPEG is the mean of its pixels to rounding, its chroma interpolated or not.
        by = max(by for by in (2, 4, 8) if by <= scale)
        repeated = with_repeated_chroma(level, _stored_tile(case, level), case.subsampling)
        expected += [view_of(levels, reduced(source, by), downsample) for source in (level, repeated)]
        unlike = replace(level, pixels=_unlike(level.pixels, case.tile))
        slack, mean = slack + 2 + _UNLIKE * (view_of(levels, unlike, downsample) > 0), _MEAN
        single = _OF_CONTRAST * block_contrast(level.pixels, case.tile, scale, shape)
    yield from _differ(name, seen, expected, slack, mean, single)
    # What lies on all levels altogether: of the rest of a side that does not divide, levels have what they have.
    rows, cols = (int(min(lv.pixels.shape[axis] * lv.downsample for lv in levels) / downsample) for axis in (0, 1))
    lost = 1.1 + 0.5 * contrast(first, downsample, shape)
    if case.lossy:  # both levels were compressed, and chroma in blocks of 16 x 16
        edges = view_of(levels, replace(level, pixels=_filled_up(level.pixels, case.tile)), downsample) > 0
        lost = lost + 8 + (0.15 + _OF_FILLING * edges) * block_contrast(level.pixels, case.tile, scale, shape)
    if rows and cols and not _beside(case, levels):
        exact = area_mean(first, downsample, shape)[:rows, :cols]
        yield from _differ(f"{name} against the view at 1", seen[:rows, :cols], [exact], lost[:rows, :cols])


def _stored_tile(case: Case, level: Truth) -> tuple[int, int]:
    """(width, height) of the tiles of a level. GDAL stores overviews in tiles of 128 pixels, unless those of the first
    level are a power of two from 64 on."""
    if case.container == "gdal" and level.downsample > 1 and any(side not in (64, 128, 256) for side in case.tile):
        return 128, 128
    return case.tile


def _unlike(pixels: NDArray[np.uint8], tile: tuple[int, int]) -> NDArray[np.bool_]:
    """Values cut off at black or white, whose mean is not the mean cut off there; and edges within a tile, into whose
    chroma a whole decode mixes what the tile is filled up with."""
    # The chroma of a pixel that is cut off is not known, nor is that of its neighbours, which is interpolated from it.
    cut = np.isin(pixels, (0, 255)).any(axis=2, keepdims=True)
    return np.asarray(maximum_filter(cut, (9, 9, 1)) | _filled_up(pixels, tile))


def _filled_up(pixels: NDArray[np.uint8], tile: tuple[int, int]) -> NDArray[np.bool_]:
    """The last pixels of an image that ends within a tile."""
    found = np.zeros(pixels.shape, np.bool_)
    rows, cols = pixels.shape[:2]
    found[-2:] |= bool(rows % tile[1])
    found[:, -2:] |= bool(cols % tile[0])
    return found


def _beside(case: Case, levels: list[Truth]) -> bool:
    """Whether lower levels do not show quite what the first does.

    GDAL averages black into the edges of holes, and stretches a level whose size was rounded over the whole image, by
    up to a pixel of it. A mirrored level of which a rest was cut off, or added, begins beside the slide's corner.
    """
    if case.container == "gdal" and not levels[0].held.all():
        return True
    rests = [side % downsample for side in (case.width, case.height) for downsample in case.downsamples]
    return (case.orientation != 1 or case.container == "gdal") and any(rests)


def _tiles(case: Case, slide: Slide, levels: list[Truth], codec: float) -> Iterator[str]:
    rng = np.random.default_rng((case.seed, 11))
    size = int(rng.integers(1, 40))
    boxes = []
    for _ in range(_TILES):
        scale = float(rng.choice([1, 1, 2, 4, 8, 0.5, rng.uniform(0.3, 12)]))
        x, y = (float(rng.uniform(-0.6 * size * scale, side)) for side in (slide.width, slide.height))
        if rng.random() < 0.5:
            x, y = float(int(x)), float(int(y))
        boxes.append((x, y, size * scale, size * scale))
    for box, patch in zip(boxes, slide.read_tiles(boxes, size, threads=_threads(case)), strict=True):
        level = finer_level(levels, box[2] / size)
        sources = [level] if level.held.all() else [level, *finer_than(levels, level)]
        expected = [tile_of(levels, source, box, size) for source in sources]
        yield from _differ(f"tile {box} at {size}", patch, expected, codec + (0.6 if len(sources) == 1 else 1.6))


def _threads(case: Case) -> int:
    return 1 + case.seed % 3


def _differ(
    what: str,
    seen: NDArray[np.uint8],
    expected: list[Floats] | list[NDArray[np.uint8]],
    slack: float | Floats,
    mean: float | None = None,
    single: float | Floats = 0.0,
) -> Iterator[str]:
    """A sentence where a pixel is further than `slack` and `single` from all that it may be, or all of them than
    `mean`."""
    error = np.min([np.abs(seen - one.astype(float)) for one in expected], axis=0)
    beyond = error > slack + single
    if beyond.any():
        row, col, _ = (int(i) for i in np.unravel_index(np.argmax(error - slack), error.shape))
        right = np.round(expected[0][row, col].astype(float), 1).tolist()
        at = f"at row {row}, column {col} {seen[row, col].tolist()} for {right}"
        yield f"{what}: {beyond.any(axis=2).mean():.1%} of the pixels differ, {at}"
    elif mean is not None:
        error = np.maximum(error - (slack - np.min(slack)), 0)
        whole = error.shape[0] // _SQUARE, error.shape[1] // _SQUARE
        squares = area_mean(error, _SQUARE, whole).mean(axis=2) if all(whole) else np.zeros((1, 1))
        # The mean of few squares may be as far off as that of one; that of many is near its expectation.
        allowed = mean + (_MEAN_OF_A_SQUARE - mean) / np.sqrt(max(1, squares.size))
        if error.mean() > allowed or squares.max() > _MEAN_OF_A_SQUARE:
            worst = f"{squares.max():.2f} in a square of {_SQUARE} pixels"
            yield f"{what}: {error.mean():.2f} grey levels off in the mean, {worst}"
