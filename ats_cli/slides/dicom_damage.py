"""Frames whose bytes cannot be what an encoder wrote, of codecs whose decoders do not notice.

In a scan of JPEG, 0xFF comes before 0 or a restart marker only; in the packets of JPEG 2000 before 0x8F or less, or a
marker that begins or ends a packet's header. Random bytes break that once in some hundreds of bytes.
"""

from __future__ import annotations

import re

_BROKEN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BROKEN_PACKET = re.compile(rb"\xff[\x90\x93-\xff]")
_START_OF_TILE, _START_OF_DATA, _END = b"\xff\x90", b"\xff\x93", b"\xff\xd9"


def refuse_broken_jpeg(stream: bytes) -> None:
    """ValueError where the last scan of a lossless JPEG has markers that end it too soon, or no end."""
    at = 2
    while stream[at : at + 1] == b"\xff" and at + 4 <= len(stream):
        scan = stream[at + 1] == 0xDA
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if scan:
            break
    found = _BROKEN_SCAN.search(stream, at)
    if found is None or found[0] != _END or stream[found.end() :].strip(b"\0"):
        raise ValueError("its stream has a marker where none can be, or no end")


def refuse_broken_jpeg_2000(stream: bytes) -> None:
    """ValueError where the tile-parts of a JPEG 2000 codestream do not follow each other up to its end."""
    at = stream.find(_START_OF_TILE, max(0, stream.find(b"\xff\x4f\xff\x51")))
    while at >= 0 and stream[at : at + 2] == _START_OF_TILE:
        length = int.from_bytes(stream[at + 6 : at + 10], "big")
        # Of the last one, 0 may stand for what is left.
        end = at + length if length else stream.rfind(_END)
        begin = stream.find(_START_OF_DATA, at)
        if not at < begin < end <= len(stream) or _BROKEN_PACKET.search(stream, begin + 2, end):
            break
        at = end
    if at < 0 or stream[at : at + 2] != _END:
        raise ValueError("its stream has a marker where none can be, or no end")
