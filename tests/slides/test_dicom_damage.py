"""A table of offsets is believed where the items bear it out; what a frame's bytes give away is damage."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from slide_pictures import picture
from test_dicom import SYNTAXES, TILE, frames_of, level, write

from ats_cli.slides import open_slide
from ats_cli.slides.check import check_slide

FAULTS = Path(__file__).parents[1] / "data" / "faults"
PIXELS = picture(5 * TILE[0], 4 * TILE[1])
FRAMES = [imagecodecs.jpegls_encode(np.ascontiguousarray(frame)) for frame in frames_of(PIXELS)]


@pytest.mark.parametrize("name", ["bot_zeros", "bot_wrapped", "bot_shifted"])
def test_a_wrong_table_of_offsets_over_sound_items(name: str) -> None:
    folder = FAULTS / "dicom-table-of-offsets"
    slide = open_slide(folder / f"{name}.dcm")
    ((_, damage),) = slide.scan_level(0, [(0, 0, slide.width, slide.height)], 2)
    assert not damage and check_slide(slide).sound


WRONG = {
    "zeros": lambda table, i, k: table * 0,
    "shifted": lambda table, i, k: table + k,
    "one entry": lambda table, i, k: np.where(np.arange(len(table)) == i, k * 37, table),
    "one entry far off": lambda table, i, k: np.where(np.arange(len(table)) == i, (1 << 31) + k, table),
    "wrapped": lambda table, i, k: table % max(1, table[i]),
    "reversed": lambda table, i, k: table[::-1],
    "one frame behind": lambda table, i, k: np.concatenate([table[:1], table[:-1]]),
    "one frame ahead": lambda table, i, k: np.concatenate([table[1:], table[-1:] + 400]),
    "one frame behind, its own first": lambda table, i, k: np.concatenate([[0, 4], table[1:-1]]),
    "random": lambda table, i, k: np.sort(np.random.default_rng(k).integers(0, table[-1], len(table))),
}


@pytest.mark.integration
@settings(max_examples=100, deadline=None)
@given(
    how=st.sampled_from(sorted(WRONG)),
    i=st.integers(0, 19),
    k=st.integers(1, 600),
    kind=st.sampled_from(["basic", "extended"]),
    threads=st.integers(1, 3),
)
def test_frames_are_the_items_whatever_the_table_says(
    tmp_path_factory: pytest.TempPathFactory, how: str, i: int, k: int, kind: str, threads: int
) -> None:
    path = write(tmp_path_factory.mktemp("t") / "a.dcm", PIXELS, FRAMES, uid.JPEGLSLossless, kind)
    whole = path.read_bytes()
    lengths = np.array([8 + len(frame) + len(frame) % 2 for frame in FRAMES])
    table = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    width = "<u4" if kind == "basic" else "<u8"
    right = table.astype(width).tobytes()
    assert whole.count(right) == 1
    path.write_bytes(whole.replace(right, np.asarray(WRONG[how](table, i, k)).astype(width).tobytes()))
    slide = open_slide(path)
    boxes = [(x, y, 50, 40) for y in range(0, 110, 30) for x in range(0, 140, 45)]
    for (x, y, w, h), (pixels, damage) in zip(boxes, slide.scan_level(0, boxes, threads), strict=True):
        assert not damage and np.array_equal(pixels, PIXELS[y : y + h, x : x + w])
    assert np.array_equal(level(slide), PIXELS)


def test_an_item_of_the_wrong_length_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", PIXELS, FRAMES, uid.JPEGLSLossless)
    whole = bytearray(path.read_bytes())
    at = whole.index(FRAMES[7]) - 4
    for length in (0, 5, len(FRAMES[7]) - 2, len(FRAMES[7]) + 60, 1 << 31):
        whole[at : at + 4] = length.to_bytes(4, "little")
        path.write_bytes(whole)
        ((pixels, damage),) = open_slide(path).scan_level(0, [(0, 0, *PIXELS.shape[1::-1])], 2)
        assert [part.box[:2] for part in damage] == [(3 * TILE[1], TILE[0])]
        assert "an item of its pixels has the wrong length" in damage[0].reason
        assert np.array_equal(pixels[2 * TILE[0] :], PIXELS[2 * TILE[0] :])


def encoded(codec: str, pixels: np.ndarray) -> bytes:
    if codec == "grey jpeg":
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[..., 0]), level=95))
    encode = SYNTAXES[codec][1]
    return bytes(encode(np.ascontiguousarray(pixels[..., 0] if codec == "lossless jpeg" else pixels)))


@pytest.mark.parametrize("codec", ["jpeg", "grey jpeg", "lossless jpeg", "jpeg-ls", "jpeg 2000"])
@pytest.mark.integration
def test_frames_of_which_much_is_garbled_are_not_sound(tmp_path: Path, codec: str) -> None:
    big = np.asarray(Image.fromarray(picture(30, 40)).resize((256, 256), Image.Resampling.BICUBIC))
    stream = encoded(codec, big)
    grey = codec in ("grey jpeg", "lossless jpeg")
    syntax = SYNTAXES["jpeg" if codec == "grey jpeg" else codec][0]
    sides = {"Rows": 256, "Columns": 256}
    shape = big[..., 0] if grey else big
    assert check_slide(open_slide(write(tmp_path / "sound.dcm", shape, [stream], syntax, **sides))).sound
    rng = np.random.default_rng(0)
    for number in range(12):
        broken, many = bytearray(stream), int(len(stream) * 0.4)
        start = int(rng.integers(len(stream) // 8, len(stream) - many))
        broken[start : start + many] = rng.bytes(many)
        slide = open_slide(write(tmp_path / f"{number}.dcm", shape, [bytes(broken)], syntax, **sides))
        assert not check_slide(slide).sound
        cut = stream[: int(rng.integers(len(stream) // 4, len(stream) - 2))]
        assert not check_slide(open_slide(write(tmp_path / "cut.dcm", shape, [cut], syntax, **sides))).sound


@pytest.mark.parametrize("codec", ["jpeg", "jpeg-ls", "jpeg 2000"])
def test_a_stream_of_as_many_pixels_in_another_shape_is_damage(tmp_path: Path, codec: str) -> None:
    syntax, encode, _ = SYNTAXES[codec]
    turned = encode(np.ascontiguousarray(picture(*TILE).transpose(1, 0, 2)))
    slide = open_slide(write(tmp_path / "a.dcm", picture(*TILE), [turned], syntax))
    ((_, damage),) = slide.scan_level(0, [(0, 0, *TILE[::-1])], 1)
    assert len(damage) == 1 and "its stream holds 32 x 48 pixels" in damage[0].reason
