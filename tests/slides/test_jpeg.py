"""JPEG tiles decoded at a half, a quarter and an eighth against the means of what is decoded whole."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_pictures import picture

from ats_cli.slides import open_slide
from ats_cli.slides.pixels.jpeg import REDUCTIONS, JpegColours, decode_jpeg, decode_whole

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"


def means(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width, _ = pixels.shape
    return pixels.reshape(height // side, side, width // side, side, 3).mean((1, 3))


@pytest.mark.integration
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("kind", ["ycbcr, marked", "ycbcr, bare", "rgb, bare"])
def test_a_reduced_tile_is_about_the_mean_of_its_blocks(kind: str, subsampling: str, reduction: int) -> None:
    smooth = means(picture(384, 512), 2).astype(np.uint8)  # like tissue: JPEG keeps it
    inside = "YCBCR" if kind.startswith("ycbcr") else "RGB"
    stream = imagecodecs.jpeg8_encode(
        smooth,
        level=90,
        colorspace="RGB",
        outcolorspace=inside,
        subsampling=subsampling if inside == "YCBCR" else "444",
    )
    if kind.endswith("bare"):
        # As in a TIFF: nothing in the stream says what its components are.
        at = stream.find(b"\xff\xe0") if inside == "YCBCR" else stream.find(b"\xff\xee")
        assert at > 0
        stream = stream[:at] + stream[at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big") :]
    whole = imagecodecs.jpeg8_decode(stream, colorspace=inside, outcolorspace="RGB")
    reduced = decode_jpeg(stream, None, JpegColours(3, inside == "YCBCR"), reduction)
    assert reduced.shape == (192 // reduction, 256 // reduction, 3)
    assert np.abs(reduced - means(whole, reduction)).mean() < 1.5


def test_abbreviated_streams_take_their_tables_from_the_file() -> None:
    with tifffile.TiffFile(EXAMPLE) as tiff:
        page = tiff.pages.first
        assert page.jpegtables
        tiff.filehandle.seek(page.dataoffsets[20])
        stream = tiff.filehandle.read(page.databytecounts[20])
        whole = page.decode(stream, 20, jpegtables=page.jpegtables)[0][0]
        reduced = decode_jpeg(stream, page.jpegtables, JpegColours(3, False), 8)
    assert np.abs(reduced - means(whole, 8)).max() < 3


@pytest.mark.integration
def test_the_view_of_a_slide_without_a_pyramid_is_read_reduced(tmp_path: Path) -> None:
    pixels = open_slide(EXAMPLE).read_view(1.0)[:883, :1041]  # tissue
    tifffile.imwrite(tmp_path / "one.tif", pixels, tile=(256, 256), photometric="rgb", compression="jpeg")
    slide = open_slide(tmp_path / "one.tif")
    whole = slide.read_view(1.0)
    tifffile.imwrite(tmp_path / "raw.tif", whole, tile=(256, 256), photometric="rgb")
    exact = open_slide(tmp_path / "raw.tif")
    assert len(slide.levels) == 1
    for downsample in (1.0, 2.0, 7.9, 8.0, 16.0, 17.3, 64.0):
        view = slide.read_view(downsample)
        assert np.abs(view.astype(int) - exact.read_view(downsample)).mean() < 1
        start = view.shape[0] // 3
        assert np.array_equal(slide.read_view(downsample, rows=(start, view.shape[0])), view[start:])
    # A patch is what the file holds, whatever its size.
    (patch,) = slide.read_tiles([(64, 32, 512, 512)], 64)
    assert np.array_equal(patch, (means(whole[32:544, 64:576], 8) + 0.5).astype(np.uint8))


def test_a_damaged_tile_of_a_reduced_view_is_no_other_than_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, picture(512, 512), tile=(256, 256), photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages.first.dataoffsets[3]
    content = bytearray(path.read_bytes())
    content[at : at + 40] = bytes(40)
    path.write_bytes(content)
    view = open_slide(path).scan_view(16.0)
    assert view.problem is not None and "x 256, y 256 of level 0" in view.problem
    assert view.unreadable[16:, 16:].all() and view.unreadable.sum() == 16 * 16


def test_what_is_damaged_is_an_error() -> None:
    stream = imagecodecs.jpeg8_encode(picture(64, 64))
    for damaged in (b"", stream[:100], stream[:300], b"\xff\xd8" + b"x" * 500):
        with pytest.raises(ValueError):
            decode_jpeg(damaged, None, JpegColours(), 8)


def tiles_of_the_example(count: int) -> tuple[list[bytes], bytes]:
    with tifffile.TiffFile(EXAMPLE) as tiff:
        page = tiff.pages.first
        assert page.jpegtables
        streams = []
        for offset, length in list(zip(page.dataoffsets, page.databytecounts, strict=True))[40 : 40 + count]:
            tiff.filehandle.seek(offset)
            streams.append(tiff.filehandle.read(length))
        return streams, page.jpegtables


@pytest.mark.parametrize("size", [64, 512, 4096])
def test_a_part_of_a_tile_that_was_never_written_is_an_error_and_no_grey(size: int) -> None:
    rng = np.random.default_rng(size)
    streams, tables = tiles_of_the_example(8)
    for stream in streams:
        whole = decode_whole(stream, tables, "RGB")
        assert np.array_equal(whole, imagecodecs.jpeg8_decode(stream, tables=tables, colorspace=2, outcolorspace=2))
        at = int(rng.integers(200, len(stream) - 100))
        hole = stream[:at] + bytes(min(size, len(stream) - at)) + stream[at + size :]
        assert imagecodecs.jpeg8_decode(hole, tables=tables).shape == whole.shape, "libjpeg lets it pass"
        with pytest.raises(ValueError, match=r"(?i)premature end|corrupt"):
            decode_whole(hole, tables, "RGB")
        with pytest.raises(ValueError, match=r"(?i)premature end|corrupt"):
            decode_whole(stream[:at], tables, "RGB")


def test_a_few_bytes_too_many_before_the_end_spoil_nothing() -> None:
    (stream,), tables = tiles_of_the_example(1)
    longer = stream[: stream.rindex(b"\xff\xd9")] + b"\1\2\3" + b"\xff\xd9"
    assert np.array_equal(decode_whole(longer, tables, "RGB"), decode_whole(stream, tables, "RGB"))


def test_unusual_kinds_are_decoded_too() -> None:
    smooth = means(picture(64, 96), 2).astype(np.uint8)
    progressive = io.BytesIO()
    Image.fromarray(smooth).save(progressive, "JPEG", progressive=True)
    streams = [imagecodecs.jpeg8_encode(smooth, 95, subsampling=kind) for kind in ("440", "411")]
    for stream in (*streams, progressive.getvalue()):
        assert np.array_equal(decode_whole(stream, None, None), imagecodecs.jpeg8_decode(stream))
    # Chroma at a third: nothing that the strict decoder knows.
    odd = bytearray(imagecodecs.jpeg8_encode(smooth, 95, subsampling="444"))
    frame = odd.index(b"\xff\xc0")
    assert odd[frame + 11] == 0x11
    odd[frame + 11] = 0x31
    assert np.array_equal(decode_whole(bytes(odd), None, None), imagecodecs.jpeg8_decode(bytes(odd)))
