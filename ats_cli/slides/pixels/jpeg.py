"""Decode JPEG tiles at full size, or directly at a half, a quarter or an eighth. Damage is an error.

The colours of a stream are decided in one place for all sizes: by its own marker (Adobe's or JFIF's), else by the
file's tags (`JpegColours`). Only three components are transformed.

libjpeg only warns of truncated or incomplete streams, and fills them with grey or with shifted blocks. Such a warning
is an error here, so that no wrong pixels are shown.

The inverse cosine transform of a block of 8 x 8 pixels can be computed at 4 x 4, 2 x 2 or 1 x 1. At 1 x 1 it is the
block's mean up to rounding, else close to it. Reduced decoding takes little more than the entropy decoding.
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

# Adobe's marker states RGB or YCbCr. It is added to streams without a marker.
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_DECODED_AS = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_ACCEPTED = {"GRAY": ("Gray",), "RGB": ("RGB", "YCbCr", "Gray"), "CMYK": ("CMYK",)}
# Encoders of scanners leave a few extra bytes before the end. More extra bytes are damaged pixel data.
_EXTRA = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MOST_EXTRA = 16


@dataclass(frozen=True)
class JpegColours:
    """The components of a JPEG stream by the file's tags: their number, and whether three are Y, Cb and Cr."""

    components: int = 3
    ycbcr: bool = True


def decode_jpeg(stream: bytes, tables: bytes | None, colours: JpegColours, reduction: int = 1) -> Pixels:
    """Decode a JPEG stream to (rows, cols, components) uint8, at 1 / `reduction` of its size, rounded up.

    Three components are returned as RGB.

    tables: the shared tables of an abbreviated stream.
    Raises ValueError, or imagecodecs' error, if the stream is damaged.
    """
    import simplejpeg

    whole = _whole(stream, tables, colours)
    kind = _DECODED_AS.get(colours.components)
    try:
        height, width, space, chroma = simplejpeg.decode_jpeg_header(whole)
    except ValueError:
        kind = None  # a kind of JPEG that the strict decoder does not support, or no JPEG
    if kind is None:
        if reduction > 1:
            raise ValueError("this kind of JPEG cannot be reduced")
        pixels = _lenient(whole)
        if pixels.shape[2] != colours.components:
            raise ValueError(f"its stream has {pixels.shape[2]} components, not {colours.components}")
        return pixels
    if space not in _ACCEPTED[kind]:
        raise ValueError(f"its stream is {space}, not {colours.components} components")
    averaged = min(reduction, _ONE_SIDED_CHROMA.get(chroma, 1))
    decoded = reduction // averaged
    size = -(-height // decoded), -(-width // decoded)

    def strict(data: bytes) -> Pixels:
        # Averages cover whole chroma blocks, so chroma is repeated and not interpolated with neighbours.
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
        # Decode again without the extra bytes, since a warning hides later ones.
        end = whole.index(b"\xff\xd9", whole.index(b"\xff\xda"))
        pixels = strict(whole[: end - int(extra[1])] + whole[end:])
    if pixels.shape[:2] != size:
        raise ValueError(f"{width} x {height} pixels cannot be reduced {reduction} times")
    return pixels if averaged == 1 else square_means(pixels, averaged)


def decode_whole(stream: bytes, tables: bytes | None, inside: Literal["RGB", "YCBCR"] | None) -> Pixels:
    """Decode a JPEG stream of three components to (rows, cols, 3) uint8 RGB. Raises as `decode_jpeg` does.

    inside: the kind of the components, for streams without a marker; None: YCbCr.
    """
    return decode_jpeg(stream, tables, JpegColours(3, inside != "RGB"))


def refuse_damaged(stream: bytes, components: int) -> None:
    """Raise ValueError for a damaged JPEG file, whose damage other decoders would fill."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg_header(stream)
    except ValueError:
        return  # a kind of JPEG that the strict decoder does not support
    decode_jpeg(stream, None, JpegColours(components), REDUCTIONS[-1])


def _lenient(whole: bytes) -> Pixels:
    """Decode with a decoder that supports more kinds and reports no damage. Check the stream's markers instead."""
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
    """Return the stream with its tables and with a marker of its colours."""
    if not stream.startswith(b"\xff\xd8"):
        raise ValueError("no JPEG stream")
    head = tables[:-2] if tables else b"\xff\xd8"
    marked = b"JFIF" in stream[:32] or b"Adobe" in stream[:64]
    if marked or colours.components != 3:
        return head + stream[2:]
    return head + _ADOBE + (b"\x01" if colours.ycbcr else b"\x00") + stream[2:]
