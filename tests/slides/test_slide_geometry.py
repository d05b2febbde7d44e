"""Views and tiles against a slow reference that knows only areas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import pyramid
from ats_cli.slides.reader import Box, Damage, Level, Pixels, Region, cut, level_downsample
from ats_cli.slides.slide import Slide, Unreadable

sides = st.integers(1, 40)


class ArrayReader:
    """Levels that are arrays, in native tiles of 16 x 16. Refuses to read outside them.

    `broken`: native tiles (level, row, col) that cannot be read. `lacking`: what the file says it does not hold.
    """

    name, vendor, mpp, mpp_source = "image", "test", (0.5, 0.5), "test"
    holds_handle, identity, plane, absent_is_white = False, None, None, True
    bytes_total: int | None = None
    bytes_read: int | None = None
    reduced: tuple[Level, ...] = ()
    resident_bytes = 0

    def __init__(self, *levels: Pixels) -> None:
        self.arrays = levels
        self.broken: set[tuple[int, int, int]] = set()
        self.lacking: dict[int, np.ndarray] = {}
        self.properties: dict[str, str] = {}
        full = (levels[0].shape[1], levels[0].shape[0])
        self.levels = tuple(
            Level(a.shape[1], a.shape[0], level_downsample(full, (a.shape[1], a.shape[0])) or 0, 16, 16, "none")
            for a in levels
        )
        self.read_levels: list[int] = []

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        self.read_levels.append(level)
        for x, y, w, h in boxes:
            assert x >= 0 and y >= 0 and w > 0 and h > 0
            assert x + w <= self.levels[level].width and y + h <= self.levels[level].height
            pixels, damage = self.arrays[level][y : y + h, x : x + w].copy(), []
            for left, top, width, height in cut((x, y, w, h), 16, 16):
                if (level, top // 16, left // 16) in self.broken:
                    pixels[top - y : top - y + height, left - x : left - x + width] = 255
                    damage.append(Damage((left, top, width, height), f"tile {top // 16}, {left // 16} is gone."))
            yield Region(pixels, tuple(damage))

    def absent(self, level: int) -> np.ndarray | None:
        return self.lacking.get(level)

    def color_profile(self) -> None: ...

    def close(self) -> None: ...


def slide_and_reader(*levels: Pixels) -> tuple[Slide, ArrayReader]:
    reader = ArrayReader(*levels)
    return Slide(Path("s.tif"), reader), reader


def slide_of(*levels: Pixels) -> Slide:
    return slide_and_reader(*levels)[0]


def overlaps(low: float, high: float, size: int, extent: float) -> np.ndarray:
    """How much of each of `size` source pixels lies in [low, high); the last stands for all up to `extent`."""
    out = np.zeros(size)
    for s in range(size):
        end = extent if s == size - 1 else min(s + 1, extent)
        out[s] = max(0.0, min(high, end) - max(low, s))
    return out


def box_matrix(
    start: float, scale: float, count: int, size: int, extent: float | None = None, normalise: bool = True
) -> np.ndarray:
    rows = []
    for i in range(count):
        centre, width = start + (i + 0.5) * scale, max(scale, 1.0)
        row = overlaps(centre - width / 2, centre + width / 2, size, size if extent is None else extent)
        rows.append(row / row.sum() if normalise else row / width)
    return np.array(rows)


@pytest.mark.integration
@given(sides, sides, st.one_of(st.integers(1, 9).map(float), st.floats(0.3, 9)), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_a_view_is_the_mean_of_its_squares(height: int, width: int, downsample: float, seed: int) -> None:
    pixels = picture(height, width, seed)
    slide = slide_of(pixels)
    rows, cols = slide.view_shape(downsample)
    assert rows == math.ceil(round(height / downsample, 6)) and cols == math.ceil(round(width / downsample, 6))
    down, across = box_matrix(0, downsample, rows, height), box_matrix(0, downsample, cols, width)
    exact = np.einsum("ri,ijc,sj->rsc", down, pixels.astype(float), across)
    assert np.abs(slide.read_view(downsample) - exact).max() < 0.502


@pytest.mark.integration
@given(
    sides,
    sides,
    st.floats(-30, 50),
    st.floats(-30, 50),
    st.floats(0.5, 40),
    st.floats(0.5, 40),
    st.integers(1, 12),
    st.sampled_from([0, 255, 128]),
)
@settings(max_examples=200, deadline=None)
def test_a_tile_is_the_mean_of_its_squares_and_fill_counts_as_pixels(
    height: int, width: int, x: float, y: float, w: float, h: float, size: int, fill: int
) -> None:
    pixels = picture(height, width)
    (patch,) = slide_of(pixels).read_tiles([(x, y, w, h)], size, fill)
    down = box_matrix(y, h / size, size, height, normalise=False)
    across = box_matrix(x, w / size, size, width, normalise=False)
    inside = np.einsum("ri,ijc,sj->rsc", down, pixels.astype(float), across)
    covered = down.sum(1)[:, None, None] * across.sum(1)[None, :, None]
    assert patch.shape == (size, size, 3) and patch.dtype == np.uint8
    assert np.abs(patch - (inside + (1 - covered) * fill)).max() < 0.502


@pytest.mark.integration
@given(st.integers(20, 60), st.integers(20, 60), st.sampled_from([1.0, 2.0, 3.0, 2.5, 1.37, 7.0, 0.6]), st.data())
@settings(max_examples=100, deadline=None)
def test_strips_and_blocks_have_the_values_of_the_whole(
    height: int, width: int, downsample: float, data: st.DataObject
) -> None:
    slide = slide_of(picture(height, width))
    whole = slide.read_view(downsample)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    assert np.array_equal(slide.read_view(downsample, rows=(start, stop)), whole[start:stop])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyramid, "_BLOCK_HEIGHT", 16)
        patch.setattr(pyramid, "_BLOCK_WIDTH", 7)
        assert np.array_equal(slide.read_view(downsample), whole)


def test_whole_pixels_are_copied() -> None:
    pixels = picture(30, 41)
    slide = slide_of(pixels)
    assert np.array_equal(slide.read_view(1), pixels)
    (patch,) = slide.read_tiles([(5, 7, 12, 12)], 12)
    assert np.array_equal(patch, pixels[7:19, 5:17])


def test_the_nearest_finer_level_is_read_and_odd_sizes_do_not_shift_it() -> None:
    # A floored level: 2 x 20 = 40 < 41. A straight ramp shows any shift; its last column has no pixel of its own.
    ramp = np.repeat(np.repeat(np.arange(41, dtype=np.uint8)[None, :, None] * 5, 3, 2), 41, 0)
    half = ramp[:40, :40].reshape(20, 2, 20, 2, 3).mean((1, 3)).astype(np.uint8)
    slide, reader = slide_and_reader(ramp, half)
    assert [lv.downsample for lv in slide.levels] == [1.0, 2.0]
    view = slide.read_view(4.0)
    assert reader.read_levels == [1]
    assert view.shape == (11, 11, 3)
    assert np.abs(view[0, :10, 0].astype(float) - (np.arange(10) * 20 + 7.5)).max() <= 1
    assert view[0, 10, 0] == half[0, 19, 0]
    reader.read_levels.clear()
    slide.read_view(1.9), slide.read_view(2.0), slide.read_view(0.5)
    assert reader.read_levels == [0, 1, 0]
    reader.read_levels.clear()
    patches = list(slide.read_tiles([(38, 38, 3, 3), (0, 0, 8, 8), (500, 0, 8, 8)], 1, fill=0))
    assert reader.read_levels == [1]
    assert abs(int(patches[0][0, 0, 0]) - 193) <= 2  # all three columns lie on the slide: no fill among them
    assert patches[2].max() == 0


def test_a_hair_more_than_a_whole_number_of_pixels_is_no_pixel_more() -> None:
    slide = slide_of(picture(500, 250))
    assert slide.view_shape(500 / 60) == (60, 30)
    assert slide.view_shape(3) == (167, 84)
    assert slide.view_shape(1000) == (1, 1)


@pytest.mark.parametrize(
    ("size", "level", "expected"),
    [
        ((4443, 3567), (2221, 1783), 2.0),
        ((4443, 3567), (2222, 1784), 2.0),
        ((2220, 2967), (2, 2), 1024.0),
        ((1000, 700), (333, 233), 3.0),
        ((1000, 700), (400, 280), 2.5),
        ((1000, 700), (400, 400), None),
        ((1000, 700), (1001, 700), None),
        ((1000, 700), (1000, 700), 1.0),
    ],
)
def test_level_downsample(size: tuple[int, int], level: tuple[int, int], expected: float | None) -> None:
    assert level_downsample(size, level) == expected


@given(st.integers(1, 60), st.integers(400, 4000), st.sampled_from([2, 4, 8, 16, 32]), st.sampled_from("fcr"))
def test_a_strip_of_few_rows_has_the_levels_that_were_written(short: int, longer: int, d: int, rounding: str) -> None:
    """A power of two is found however the sides were rounded, even where a side is rounded from 1.9 to 1."""
    rounded = {"f": math.floor, "c": math.ceil, "r": round}[rounding]
    level = max(1, rounded(longer / d)), max(1, rounded(short / d))
    assert short < d or level_downsample((longer, short), level) == d
    assert short < d or level_downsample((short, longer), level[::-1]) == d


def test_rows_and_boxes_that_make_no_sense_are_refused() -> None:
    slide = slide_of(picture(20, 20))
    with pytest.raises(ValueError, match="rows"):
        slide.read_view(2, rows=(5, 11))
    with pytest.raises(ValueError, match="boxes"):
        slide.read_tiles([(0, 0, 0, 5)], 4)
    with pytest.raises(ValueError, match="downsample"):
        slide.read_view(0)
    assert list(slide.read_tiles(np.zeros((0, 4)), 4)) == []


@pytest.mark.integration
@given(st.integers(20, 70), st.integers(20, 70), st.sampled_from([0.7, 1.0, 2.0, 3.0, 4.3]), st.data())
@settings(max_examples=150, deadline=None)
def test_a_broken_tile_spoils_its_own_pixels_and_no_others(
    height: int, width: int, downsample: float, data: st.DataObject
) -> None:
    pixels = picture(height, width)
    row, col = data.draw(st.integers(0, (height - 1) // 16)), data.draw(st.integers(0, (width - 1) // 16))
    slide, reader = slide_and_reader(pixels)
    sound = slide.read_view(downsample)
    reader.broken = {(0, row, col)}
    view = slide.scan_view(downsample)
    assert view.problem == f"s.tif: tile {row}, {col} is gone."
    # Whatever would change with the tile's content is marked.
    other = pixels.copy()
    other[16 * row : 16 * row + 16, 16 * col : 16 * col + 16] ^= 128
    changed = (slide_of(other).read_view(downsample) != sound).any(axis=2)
    assert (view.unreadable | ~changed).all() and view.unreadable.any()
    assert np.array_equal(view.pixels[~view.unreadable], sound[~view.unreadable])
    with pytest.raises(SlideError, match=f"tile {row}, {col} is gone"):
        slide.read_view(downsample)


def test_what_is_broken_on_a_level_is_taken_from_the_next_finer_one() -> None:
    fine = picture(128, 96)
    coarse = fine.reshape(64, 2, 48, 2, 3).astype(int).sum((1, 3)) + 2
    slide, reader = slide_and_reader(fine, (coarse // 4).astype(np.uint8))
    sound, patch = slide.read_view(2.0), next(slide.read_tiles([(40, 40, 16, 16)], 8))
    reader.broken = {(1, row, col) for row in range(1, 4) for col in range(3)}
    view = slide.scan_view(2.0)
    assert view.problem is None and np.array_equal(view.pixels, sound)
    assert np.array_equal(next(slide.read_tiles([(40, 40, 16, 16)], 8)), patch)

    reader.broken |= {(0, 2, 1)}
    view = slide.scan_view(2.0)
    assert view.problem == "s.tif: tile 2, 1 is gone."
    assert set(zip(*np.nonzero(view.unreadable), strict=True)) == {(r, c) for r in range(16, 24) for c in range(8, 16)}


def test_a_tile_that_cannot_be_read_is_told_in_its_place() -> None:
    slide, reader = slide_and_reader(picture(64, 64))
    reader.broken = {(0, 1, 1)}
    first, second, third = slide.scan_tiles([(0, 0, 16, 16), (10, 10, 16, 16), (32, 0, 8, 8)], 8)
    assert isinstance(second, Unreadable) and second.reason == "s.tif: tile 1, 1 is gone."
    assert not isinstance(first, Unreadable) and not isinstance(third, Unreadable)
    with pytest.raises(SlideError, match="is gone"):
        list(slide.read_tiles([(0, 0, 16, 16), (10, 10, 16, 16)], 8))


@pytest.mark.integration
@given(st.integers(0, 2**16 - 1), st.lists(st.tuples(*[st.floats(-20, 70)] * 2, *[st.floats(1, 50)] * 2), min_size=1))
@settings(max_examples=200, deadline=None)
def test_a_box_over_nothing_but_absent_tiles_shows_nothing(
    bits: int, boxes: list[tuple[float, float, float, float]]
) -> None:
    lacking = np.array([bits >> k & 1 for k in range(16)], bool).reshape(4, 4)
    slide, reader = slide_and_reader(picture(64, 64))
    reader.lacking = {0: lacking}
    absence = slide.absence(1.0)
    if absence is None:
        assert not lacking.any()
        return
    found = absence.of(np.array([(x, y, side, side) for x, y, side, _ in boxes]))
    side = boxes[0][2]
    x, y, _, _ = np.array(boxes).T
    each = np.array([[(left, top, side, side) for left in x] for top in y]).reshape(-1, 4)
    assert np.array_equal(absence.grid(x, y, side).ravel(), absence.of(each))
    for (x, y, side, _), shows_nothing in zip(boxes, found, strict=True):
        rows, cols = ({int(v) // 16 for v in range(math.floor(a), math.ceil(a + side)) if 0 <= v < 64} for a in (y, x))
        under = [lacking[row, col] for row in rows for col in cols]
        assert shows_nothing == (bool(under) and all(under))
    assert slide_of(picture(64, 64)).absence(1.0) is None
