"""The image size that a compressed stream states, to check it before a decoder allocates memory."""

from __future__ import annotations

import struct

# Start-of-frame markers of JPEG: SOF0 to SOF15 without the three other markers among them; and that of JPEG-LS.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_CODESTREAM = b"\xff\x4f\xff\x51"
_JPEG_2000_WITHIN = 4096

MOST_PIXELS = 1 << 24
"""Most pixels of a native tile. Tiles are decoded as a whole, and several are in memory at a time."""


def refuse_large(data: bytes, most: int = MOST_PIXELS) -> None:
    """Raise ValueError if the stream of a native tile states more than `most` pixels."""
    size = stream_size(data)
    if size is not None and size[0] * size[1] > most:
        raise ValueError(f"its stream promises {size[0]} x {size[1]} pixels")


def stream_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) that a JPEG, JPEG 2000 or WebP stream states; None for other streams."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        boxed = data[4:8] == b"jP  "
        siz = data.find(_CODESTREAM, 0, _JPEG_2000_WITHIN) if boxed else 0
        if siz >= 0 and data.startswith(_CODESTREAM, siz):
            right, bottom, left, top = struct.unpack_from(">IIII", data, siz + 8)
            return right - left, bottom - top
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
