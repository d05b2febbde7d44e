"""The memory that Pillow needs to decode an image, estimated from its header: pixels and decoder buffers."""

from __future__ import annotations

import struct

from PIL import Image

_CODESTREAM = b"\xff\x4f\xff\x51"
_ROWS_PER_STRIP, _ORIENTATION = 278, 0x0112


def image_bytes(image: Image.Image) -> int:
    """Return the bytes of the decoded image: one per pixel with one sample, four with more."""
    return image.width * image.height * (1 if len(image.getbands()) == 1 else 4)


def decoding_bytes(image: Image.Image, head: bytes) -> int:
    """Return the approximate peak memory of decoding, in bytes. `head`: the file's first bytes.

    Measured beyond the image itself: WebP, 12 bytes per pixel (two canvases and a copy); progressive JPEG, 2 per sample
    (its coefficients); JPEG 2000, 5 per sample of a tile; TIFF, a strip, and the image again if it is rotated.
    """
    size, pixels, samples = image_bytes(image), image.width * image.height, len(image.getbands())
    if image.format == "WEBP":
        return size + 12 * pixels
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        return size + 2 * samples * pixels
    if image.format == "JPEG2000":
        return size + 5 * samples * min(pixels, _tile_pixels(head) or pixels)
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        rows = min(int(tags.get(_ROWS_PER_STRIP, image.height)), image.height)
        return size * (1 if tags.get(_ORIENTATION, 1) == 1 else 2) + samples * image.width * rows
    return size


def _tile_pixels(head: bytes) -> int | None:
    """Return the pixels per tile of a JPEG 2000 stream; None if its header is not in `head`."""
    at = head.find(_CODESTREAM)
    try:
        width, height = struct.unpack_from(">II", head, at + 24)
    except struct.error:
        return None
    return None if at < 0 else int(width * height)
