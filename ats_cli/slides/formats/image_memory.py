"""What Pillow takes of memory to decode an image, by its header: its pixels, and what its decoder holds beside them."""

from __future__ import annotations

import struct

from PIL import Image

_CODESTREAM = b"\xff\x4f\xff\x51"
_ROWS_PER_STRIP, _ORIENTATION = 278, 0x0112


def held_bytes(image: Image.Image) -> int:
    """Of the decoded image: one byte a pixel of one sample, four of any other."""
    return image.width * image.height * (1 if len(image.getbands()) == 1 else 4)


def decoding_bytes(image: Image.Image, head: bytes) -> int:
    """The most that is held while it is decoded, about. `head`: the file's first bytes.

    Measured, as bytes a pixel beside the image: of WebP 12, two canvases and a copy; of progressive JPEG two for each
    sample, its coefficients; of JPEG 2000 five for each sample of a tile; of TIFF a strip, and the image again where it
    is turned.
    """
    held, pixels, samples = held_bytes(image), image.width * image.height, len(image.getbands())
    if image.format == "WEBP":
        return held + 12 * pixels
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        return held + 2 * samples * pixels
    if image.format == "JPEG2000":
        return held + 5 * samples * min(pixels, _tile_pixels(head) or pixels)
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        rows = min(int(tags.get(_ROWS_PER_STRIP, image.height)), image.height)
        return held * (1 if tags.get(_ORIENTATION, 1) == 1 else 2) + samples * image.width * rows
    return held


def _tile_pixels(head: bytes) -> int | None:
    """Pixels of a tile of JPEG 2000; None where the header is not in `head`."""
    at = head.find(_CODESTREAM)
    try:
        width, height = struct.unpack_from(">II", head, at + 24)
    except struct.error:
        return None
    return None if at < 0 else int(width * height)
