"""Refuse streams with impossible bytes, for codecs whose decoders do not detect damage or take long to.

In a JPEG scan, 0xFF is followed only by 0 or a restart marker; in JPEG 2000 packets, only by 0x8F or less or by a
marker that begins or ends a packet header. Random bytes break this rule once in a few hundred bytes.
"""

from __future__ import annotations

import re

# Between scans there may be tables (C4, DD); a scan begins with DA.
_BROKEN_SCAN = re.compile(rb"\xff[^\x00\xc4\xd0-\xd7\xda\xdd\xff]")
_BROKEN_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8\xdb-\xf7\xf9-\xfe]")
_BROKEN_PACKET = re.compile(rb"\xff[\x90\x93-\xff]")
_START_OF_TILE, _START_OF_DATA, _END = b"\xff\x90", b"\xff\x93", b"\xff\xd9"


def refuse_broken_jpeg(stream: bytes) -> None:
    """Raise ValueError if the scans of a lossless JPEG have impossible markers or no end."""
    at = 2
    while stream[at : at + 1] == b"\xff" and at + 4 <= len(stream):
        scan = stream[at + 1] == 0xDA
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if scan:
            break
    found = _BROKEN_SCAN.search(stream, at)
    if found is None or found[0] != _END or stream[found.end() :].strip(b"\0"):
        raise ValueError("its stream has a marker where none can be, or no end")


def refuse_broken_jpeg_ls(stream: bytes) -> None:
    """Raise ValueError if a JPEG-LS scan has impossible markers or no end: decoding a truncated one takes seconds."""
    scan = stream.find(b"\xff\xda")
    if scan < 0 or _BROKEN_LS_SCAN.search(stream, scan) or not stream.rstrip(b"\0").endswith(_END):
        raise ValueError("its stream has a marker where none can be, or no end")


def refuse_broken_jpeg_2000(stream: bytes) -> None:
    """Raise ValueError if the tile-parts of a JPEG 2000 codestream are not contiguous up to its end."""
    at = stream.find(_START_OF_TILE, max(0, stream.find(b"\xff\x4f\xff\x51")))
    while at >= 0 and stream[at : at + 2] == _START_OF_TILE:
        length = int.from_bytes(stream[at + 6 : at + 10], "big")
        # The last tile-part may have length 0, which means up to the end.
        end = at + length if length else stream.rfind(_END)
        begin = stream.find(_START_OF_DATA, at)
        if not at < begin < end <= len(stream) or _BROKEN_PACKET.search(stream, begin + 2, end):
            break
        at = end
    if at < 0 or stream[at : at + 2] != _END:
        raise ValueError("its stream has a marker where none can be, or no end")
