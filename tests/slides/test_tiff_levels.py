"""Which directories of a TIFF are its levels, as OpenSlide has it; and chains of directories that no slide has."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import FAULTS, picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide

STEPS = st.lists(st.sampled_from([1.5, 2, 2.5, 3, 4, 5, 6, 8]), max_size=4)


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(STEPS, st.integers(250, 500), st.integers(250, 500), st.booleans(), st.randoms())
def test_levels_are_those_that_openslide_takes(
    steps: list[float], width: int, height: int, aperio: bool, random: object
) -> None:
    downsamples = [1.0]
    for step in steps:
        if 250 / (downsamples[-1] * step) >= 16:
            downsamples.append(downsamples[-1] * step)
    sizes = [(round(height / d), round(width / d)) for d in downsamples]
    lower = sizes[1:]
    if not aperio:  # whose levels lie in order
        random.shuffle(lower)  # type: ignore[attr-defined]
    description = f"Aperio Image\r\n{width}x{height} |MPP = 0.5" if aperio else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        with tifffile.TiffWriter(path) as out:
            options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "description": description}
            for number, (rows, cols) in enumerate([sizes[0], *lower]):
                out.write(picture(rows, cols), subfiletype=int(number > 0), **options)
        with open_slide(path, backend="tiff") as slide, openslide.OpenSlide(path) as theirs:
            assert [(level.width, level.height) for level in slide.levels] == list(theirs.level_dimensions)
            for number, level in enumerate(slide.levels):
                # Whole pixels say a downsample to one pixel of the shorter side.
                accuracy = 1 / min(level.width, level.height)
                assert level.downsample == pytest.approx(downsamples[number], rel=accuracy)
                (region,) = slide.scan_level(number, [(0, 0, level.width, level.height)], threads=1)
                assert np.array_equal(region.pixels, picture(level.height, level.width))


@settings(max_examples=15, deadline=None)
@given(STEPS, st.integers(250, 500), st.integers(250, 500))
def test_levels_in_subifds_may_lie_in_any_factor_too(steps: list[float], width: int, height: int) -> None:
    downsamples = [1.0]
    for step in steps:
        if 250 / (downsamples[-1] * step) >= 16:
            downsamples.append(downsamples[-1] * step)
    sizes = [(round(height / d), round(width / d)) for d in downsamples]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        with tifffile.TiffWriter(path) as out:
            for number, (rows, cols) in enumerate(sizes):
                below = {"subfiletype": 1} if number else {"subifds": len(sizes) - 1}
                out.write(picture(rows, cols), photometric="rgb", tile=(64, 64), metadata=None, **below)
        with open_slide(path) as slide:
            assert [(level.height, level.width) for level in slide.levels] == sizes


def test_a_jump_of_eight_from_one_level_to_the_next() -> None:
    with open_slide(FAULTS / "generic-tiff-level-jump" / "jump8.tif") as slide:
        assert [level.downsample for level in slide.levels] == [1.0, 8.0]
        before = slide.bytes_read or 0
        slide.read_view(8)
        assert (slide.bytes_read or 0) - before < (slide.bytes_total or 0) / 10


@settings(max_examples=15, deadline=None)
@given(STEPS, st.integers(250, 500), st.integers(250, 500))
def test_levels_in_sub_directories_may_follow_in_any_factor_too(steps: list[float], width: int, height: int) -> None:
    downsamples = [1.0]
    for step in steps:
        if 250 / (downsamples[-1] * step) >= 16:
            downsamples.append(downsamples[-1] * step)
    sizes = [(round(height / d), round(width / d)) for d in downsamples]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        options = {"photometric": "rgb", "tile": (64, 64), "metadata": None}
        with tifffile.TiffWriter(path) as out:
            out.write(picture(*sizes[0]), subifds=len(sizes) - 1, **options)
            for size in sizes[1:]:
                out.write(picture(*size), subfiletype=1, **options)
        with open_slide(path) as slide:
            assert [(level.height, level.width) for level in slide.levels] == sizes


def test_what_is_marked_as_reduced_and_is_no_level(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.tif", picture(640, 640)
    with tifffile.TiffWriter(path) as out:
        options = {"tile": (64, 64), "metadata": None}
        out.write(pixels, photometric="rgb", **options)
        out.write(picture(80, 70), photometric="rgb", subfiletype=1, **options)  # of another shape
        out.write(picture(80, 80)[..., 0], photometric="minisblack", subfiletype=1, **options)  # of another colour
        out.write(picture(79, 79), photometric="rgb", **options)  # not marked
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1.0]
        assert np.array_equal(slide.read_view(1), pixels)


def directories(path: Path, count: int, big: bool, sizes: int, loop: bool = False) -> Path:
    """A chain of directories, each of one small strip, of so many widths."""
    out = bytearray(b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0" + struct.pack("<I", 8))
    number, entry, offset = ("<Q", "<HHQQ", "<Q") if big else ("<H", "<HHII", "<I")
    for i in range(count):
        tags = {256: 16 + i % sizes, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 16 + i % sizes}
        one = struct.pack(number, len(tags)) + b"".join(struct.pack(entry, tag, 4, 1, v) for tag, v in tags.items())
        following = len(out) + len(one) + struct.calcsize(offset)
        out += one + struct.pack(offset, following if i < count - 1 else 8 * (1 + big) if loop else 0)
    path.write_bytes(out)
    return path


@pytest.mark.integration
@pytest.mark.parametrize("big", [False, True])
def test_more_directories_than_any_slide_has_are_refused_unread(tmp_path: Path, big: bool) -> None:
    for count, sizes, says in ((30_000, 1, "more than 10000 directories"), (1000, 1000, "more than 256 sizes")):
        path = directories(tmp_path / "a.tif", count, big, sizes)
        for backend in (None, "tiff"):
            with pytest.raises(SlideError, match=rf"^a\.tif: .*{says} in this TIFF\. Export the .* by itself\.$"):
                open_slide(path, backend=backend)


@pytest.mark.parametrize("big", [False, True])
def test_a_chain_that_leads_back_to_its_start_ends(tmp_path: Path, big: bool) -> None:
    with pytest.raises(SlideError, match="20 images of one size"):
        open_slide(directories(tmp_path / "a.tif", 20, big, 1, loop=True))
