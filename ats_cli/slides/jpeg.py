"""JPEG tiles decoded straight to a half, a quarter or an eighth of their size.

The inverse cosine transform of a block of 8 x 8 pixels can be computed at 4 x 4, 2 x 2 or 1 x 1: at 1 x 1 it is the
block's mean to rounding, else near it. It costs the entropy decoding, which is what is left of the time.
"""

from __future__ import annotations

import numpy as np

from ats_cli.slides.reader import Pixels

REDUCTIONS = (2, 4, 8)

# Adobe's marker says whether three components are RGB or YCbCr, in a stream that leaves it to the file around it.
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def decode_reduced(stream: bytes, tables: bytes | None, ycbcr: bool, reduction: int) -> Pixels:
    """A JPEG stream as (rows, cols, 3) uint8 RGB at 1 / `reduction` of its size, rounded up.

    `tables`: the tables that an abbreviated stream leaves to its file. `ycbcr`: what the file says of its three
    components, where the stream itself does not. Raises ValueError where it cannot be decoded.
    """
    import simplejpeg

    head = (tables[:-2] if tables else b"\xff\xd8") + _ADOBE + (b"\x01" if ycbcr else b"\x00")
    whole = stream if b"JFIF" in stream[:32] or b"Adobe" in stream[:64] else head + stream[2:]
    height, width, _, _ = simplejpeg.decode_jpeg_header(whole)
    pixels: Pixels = simplejpeg.decode_jpeg(
        whole, "RGB", min_height=-(-height // reduction), min_width=-(-width // reduction)
    )
    if pixels.shape != (-(-height // reduction), -(-width // reduction), 3):
        raise ValueError(f"{width} x {height} pixels cannot be reduced {reduction} times")
    return np.asarray(pixels)
