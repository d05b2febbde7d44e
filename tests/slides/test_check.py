"""`check_slide`: what is damaged is found, what is merely not there is no damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from slide_pictures import picture
from small import damage, write_pyramid, write_slide

from ats_cli.slides import check_slide, open_slide


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """10 x 8 native tiles, and a second level of 3 x 2."""
    return write_pyramid(tmp_path / "slide.tif", picture(512, 640))


def test_a_sound_slide_is_sound(slide: Path) -> None:
    with open_slide(slide) as opened:
        found = check_slide(opened)
        assert found.sound and found.tiles == found.tiles_total == 86
        # A few: 5 at random, with the corners of both levels.
        assert 8 <= check_slide(opened, tiles=5).tiles <= 13


def test_damage_is_found_with_its_place(slide: Path) -> None:
    damage(slide, 0, 34)
    damage(slide, 5, level=1)
    with open_slide(slide) as opened:
        found = check_slide(opened)
        assert [(p.level, p.x, p.y) for p in found.problems] == [(0, 0, 0), (0, 256, 192), (1, 128, 64)]
        for p in found.problems:
            assert p.sentence.startswith(f"slide.tif: tile at x {p.x}, y {p.y} of level {p.level} is damaged")
        # Corners are always tried, and the sample is the same for the same seed.
        assert {(p.level, p.x) for p in check_slide(opened, tiles=0).problems} == {(0, 0), (1, 128)}
        assert check_slide(opened, tiles=20, seed=1) == check_slide(opened, tiles=20, seed=1)


def test_one_damaged_tile_in_ten_is_found_by_a_sample(tmp_path: Path) -> None:
    path = damage(write_slide(tmp_path / "slide.tif", picture(1280, 1280)), *range(1, 400, 10))
    with open_slide(path) as opened:
        found = check_slide(opened, tiles=60)
        assert found.tiles <= 64 and found.tiles_total == 400
        assert 1 <= len(found.problems) <= 20


def test_what_the_file_does_not_hold_is_not_tried(slide: Path) -> None:
    damage(slide, *range(40), absent=True)
    with open_slide(slide) as opened:
        found = check_slide(opened)
        assert found.sound and found.tiles == found.tiles_total == 46


def test_a_plain_image_is_one_tile(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(picture(100, 100)).save(path)
    with open_slide(path) as opened:
        assert check_slide(opened).sound
    path.write_bytes(path.read_bytes()[:-9000])
    with open_slide(path) as opened:
        (problem,) = check_slide(opened).problems
        assert problem.sentence.startswith("image.png: the image is damaged or cut short")


def test_a_slide_of_which_nothing_can_be_tried_is_not_sound(slide: Path) -> None:
    damage(slide, *range(80), absent=True)
    damage(slide, *range(6), level=1, absent=True)
    with open_slide(slide) as opened:
        found = check_slide(opened)
        assert not found.sound and found.tiles == 0
        assert found.problems[0].sentence.startswith("slide.tif: the file holds no native tile")


def test_what_no_check_can_find_is_said(tmp_path: Path) -> None:
    import zarr

    for compressors, checksums in (([zarr.codecs.ZstdCodec()], False), ([zarr.codecs.GzipCodec()], True)):
        path = tmp_path / f"{checksums}.zarr"
        zarr.create_array(path, data=picture(64, 64), chunks=(32, 32, 3), compressors=compressors)
        with open_slide(path) as opened:
            assert check_slide(opened).checksums is checksums
