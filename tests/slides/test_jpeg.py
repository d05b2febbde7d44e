"""JPEG tiles decoded at a half, a quarter and an eighth against the means of what is decoded whole."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from slide_pictures import picture

from ats_cli.slides.jpeg import REDUCTIONS, decode_reduced

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"


def means(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width, _ = pixels.shape
    return pixels.reshape(height // side, side, width // side, side, 3).mean((1, 3))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("kind", ["ycbcr, marked", "ycbcr, bare", "rgb, bare"])
def test_a_reduced_tile_is_about_the_mean_of_its_blocks(kind: str, subsampling: str, reduction: int) -> None:
    smooth = means(picture(960, 1280), 5).astype(np.uint8)  # like tissue: JPEG keeps it
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
    reduced = decode_reduced(stream, None, inside == "YCBCR", reduction)
    assert reduced.shape == (192 // reduction, 256 // reduction, 3)
    assert np.abs(reduced - means(whole, reduction)).mean() < 1.5


def test_abbreviated_streams_take_their_tables_from_the_file() -> None:
    with tifffile.TiffFile(EXAMPLE) as tiff:
        page = tiff.pages.first
        assert page.jpegtables
        tiff.filehandle.seek(page.dataoffsets[20])
        stream = tiff.filehandle.read(page.databytecounts[20])
        whole = page.decode(stream, 20, jpegtables=page.jpegtables)[0][0]
        reduced = decode_reduced(stream, page.jpegtables, False, 8)
    assert np.abs(reduced - means(whole, 8)).max() < 3


def test_what_is_damaged_is_an_error() -> None:
    stream = imagecodecs.jpeg8_encode(picture(64, 64))
    for damaged in (b"", stream[:100], stream[:300], b"\xff\xd8" + b"x" * 500):
        with pytest.raises(ValueError):
            decode_reduced(damaged, None, True, 8)
