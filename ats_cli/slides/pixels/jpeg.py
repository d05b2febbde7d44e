"""JPEG tiles: decoded whole, or straight to a half, a quarter or an eighth of their size; damage is an error.

What the components of a stream are is decided in one place, for every size: by the stream's own marker (Adobe's or
JFIF's), else by the file around it (`JpegColours`). Only three components are ever transformed.

libjpeg only warns of a stream that breaks off, or of which a part was never written, and fills up with grey or with
shifted blocks. Such a warning is an error, so that no wrong pixels are taken for the slide's.

The inverse cosine transform of a block of 8 x 8 pixels can be computed at 4 x 4, 2 x 2 or 1 x 1: at 1 x 1 it is the
block's mean to rounding, else near it. It costs the entropy decoding, which is what is left of the time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ats_cli.slides.pixels.resample import square_means
from ats_cli.slides.reader import Pixels

REDUCTIONS = (2, 4, 8)

# Chroma stored at a half or a quarter of one side only. libjpeg decodes a component smaller in both directions or in
# none, so at a reduced size such chroma would be interpolated from blocks twice or four times as wide as the pixels.
_ONE_SIDED_CHROMA = {"422": 2, "440": 2, "411": 4, "441": 4}

# Adobe's marker says whether three components are RGB or YCbCr, in a stream that leaves it to the file around it.
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_DECODED_AS = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_ACCEPTED = {"GRAY": ("Gray",), "RGB": ("RGB", "YCbCr", "Gray"), "CMYK": ("CMYK",)}
# What encoders of scanners are known to leave before the end is a few bytes; more of them were meant for pixels.
_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MOST_EXTRA = 16


@dataclass(frozen=True)
class JpegColours:
    """What the file around a stream says of it: how many components it has, and whether three are Y, Cb and Cr."""

    components: int = 3
    ycbcr: bool = True


def decode_jpeg(stream: bytes, tables: bytes | None, colours: JpegColours, reduction: int = 1) -> Pixels:
    """A JPEG stream as (rows, cols, components) uint8 at 1 / `reduction` of its size, rounded up; three are RGB.

    `tables`: the tables that an abbreviated stream leaves to its file. Raises ValueError, or imagecodecs' error, for
    what is damaged.
    """
    import simplejpeg

    whole = _whole(stream, tables, colours)
    kind = _DECODED_AS.get(colours.components)
    try:
        height, width, space, chroma = simplejpeg.decode_jpeg_header(whole)
    except ValueError:
        kind = None  # a kind of JPEG that the strict decoder does not know, or no JPEG
    if kind is None:
        if reduction > 1:
            raise ValueError("this kind of JPEG cannot be reduced")
        return _lenient(whole)
    if space not in _ACCEPTED[kind]:
        raise ValueError(f"its stream is {space}, not {colours.components} components")
    averaged = min(reduction, _ONE_SIDED_CHROMA.get(chroma, 1))
    decoded = reduction // averaged
    size = -(-height // decoded), -(-width // decoded)

    def strict(data: bytes) -> Pixels:
        # Averaged over whole blocks of chroma: they are repeated, not interpolated with their neighbours.
        repeat = averaged > 1 and decoded > 1
        return np.asarray(
            simplejpeg.decode_jpeg(data, kind, fastupsample=repeat, min_height=size[0], min_width=size[1])
        )

    try:
        pixels = strict(whole)
    except ValueError as error:
        extra = _EXTRA.search(str(error))
        if extra is None or int(extra[1]) > _MOST_EXTRA:
            raise
        # Without them the stream must be sound: a warning hides those after it.
        end = whole.index(b"\xff\xd9", whole.index(b"\xff\xda"))
        pixels = strict(whole[: end - int(extra[1])] + whole[end:])
    if pixels.shape[:2] != size:
        raise ValueError(f"{width} x {height} pixels cannot be reduced {reduction} times")
    return pixels if averaged == 1 else square_means(pixels, averaged)


def decode_whole(stream: bytes, tables: bytes | None, inside: Literal["RGB", "YCBCR"] | None) -> Pixels:
    """A JPEG stream of three components as (rows, cols, 3) uint8 RGB.

    `inside`: what the components are; None for what the stream says, or YCbCr. Raises as `decode_jpeg` does.
    """
    return decode_jpeg(stream, tables, JpegColours(3, inside != "RGB"))


def refuse_damaged(stream: bytes, components: int) -> None:
    """ValueError for a whole JPEG that another decoder would fill up where it is damaged."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg_header(stream)
    except ValueError:
        return  # a kind of JPEG that the strict decoder does not know
    decode_jpeg(stream, None, JpegColours(components), REDUCTIONS[-1])


def _lenient(whole: bytes) -> Pixels:
    """By a decoder that knows more kinds and reports no damage: what the stream itself shows of it is an error."""
    import imagecodecs

    if b"\xff\xd9" not in whole[-256:]:
        raise ValueError("the stream has no end")
    _, _, scan = whole.partition(b"\xff\xda")
    restarts = [marker[1] - 0xD0 for marker in re.findall(rb"\xff[\xd0-\xd7]", scan)]
    if b"\xff\xda" not in scan and restarts != [number % 8 for number in range(len(restarts))]:
        raise ValueError("a restart marker out of order")
    pixels = np.asarray(imagecodecs.jpeg_decode(whole))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _whole(stream: bytes, tables: bytes | None, colours: JpegColours) -> bytes:
    """A stream with its tables, that says what three components are."""
    if not stream.startswith(b"\xff\xd8"):
        raise ValueError("no JPEG stream")
    head = tables[:-2] if tables else b"\xff\xd8"
    marked = b"JFIF" in stream[:32] or b"Adobe" in stream[:64]
    if marked or colours.components != 3:
        return head + stream[2:]
    return head + _ADOBE + (b"\x01" if colours.ycbcr else b"\x00") + stream[2:]
