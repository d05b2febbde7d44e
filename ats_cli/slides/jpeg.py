"""JPEG tiles: decoded whole, or straight to a half, a quarter or an eighth of their size; damage is an error.

libjpeg only remarks on a stream that breaks off, or of which a part was never written, and fills up with grey or with
shifted blocks. Here such a remark is an error, so that no wrong pixels are taken for the slide's.

The inverse cosine transform of a block of 8 x 8 pixels can be computed at 4 x 4, 2 x 2 or 1 x 1: at 1 x 1 it is the
block's mean to rounding, else near it. It costs the entropy decoding, which is what is left of the time.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from ats_cli.slides.reader import Pixels

REDUCTIONS = (2, 4, 8)

# Adobe's marker says whether three components are RGB or YCbCr, in a stream that leaves it to the file around it.
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


# What encoders of scanners are known to leave before the end: it spoils nothing.
_HARMLESS = re.compile(r"extraneous bytes before marker 0xd9")


def decode_whole(stream: bytes, tables: bytes | None, inside: Literal["RGB", "YCBCR"] | None) -> Pixels:
    """A JPEG stream of three components as (rows, cols, 3) uint8 RGB.

    `tables`: as for `decode_reduced`. `inside`: what the components are; None for what the stream says, or YCbCr.
    Raises ValueError, or imagecodecs' error, for what is damaged.
    """
    import simplejpeg

    try:
        whole = _whole(stream, tables, inside != "RGB")
        simplejpeg.decode_jpeg_header(whole)
    except ValueError:
        return _lenient(stream, tables, inside)  # a kind of JPEG that the strict decoder does not know, or no JPEG
    try:
        return np.asarray(simplejpeg.decode_jpeg(whole, "RGB"))
    except ValueError as error:
        if _HARMLESS.search(str(error)):
            return _lenient(stream, tables, inside)
        raise


def _lenient(stream: bytes, tables: bytes | None, inside: Literal["RGB", "YCBCR"] | None) -> Pixels:
    import imagecodecs

    return np.asarray(imagecodecs.jpeg8_decode(stream, tables=tables, colorspace=inside, outcolorspace="RGB"))


def decode_reduced(stream: bytes, tables: bytes | None, ycbcr: bool, reduction: int) -> Pixels:
    """A JPEG stream as (rows, cols, 3) uint8 RGB at 1 / `reduction` of its size, rounded up.

    `tables`: the tables that an abbreviated stream leaves to its file. `ycbcr`: what the file says of its three
    components, where the stream itself does not. Raises ValueError where it cannot be decoded.
    """
    import simplejpeg

    whole = _whole(stream, tables, ycbcr)
    height, width, _, _ = simplejpeg.decode_jpeg_header(whole)
    pixels: Pixels = simplejpeg.decode_jpeg(
        whole, "RGB", min_height=-(-height // reduction), min_width=-(-width // reduction)
    )
    if pixels.shape != (-(-height // reduction), -(-width // reduction), 3):
        raise ValueError(f"{width} x {height} pixels cannot be reduced {reduction} times")
    return np.asarray(pixels)


def _whole(stream: bytes, tables: bytes | None, ycbcr: bool) -> bytes:
    """A stream with its tables, that says what its components are."""
    if b"JFIF" in stream[:32] or b"Adobe" in stream[:64]:
        return stream if not tables else tables[:-2] + stream[2:]
    return (tables[:-2] if tables else b"\xff\xd8") + _ADOBE + (b"\x01" if ycbcr else b"\x00") + stream[2:]
