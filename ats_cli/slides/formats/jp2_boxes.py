"""The colour boxes in the header of a JP2: how many bands there are, what their colours are, whether one is opacity."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_GREY = 17
_OPACITIES = (1, 2)


@dataclass(frozen=True)
class Jp2Colours:
    """bands: per pixel. grey: whether the colours are said to be grey. opacity: whether one of the bands is opacity."""

    bands: int = 0
    grey: bool = False
    opacity: bool = False


def jp2_colours(head: bytes) -> Jp2Colours:
    """Return what the boxes in `head`, a file's first bytes, say. Nothing is said by a stream without boxes."""
    bands, grey, opacity = 0, False, False
    if not head.startswith(_SIGNATURE):
        return Jp2Colours()
    for kind, content in _boxes(head, 0, len(head)):
        if kind == b"ihdr" and len(content) >= 10:
            bands = int.from_bytes(content[8:10], "big")
        elif kind == b"colr" and len(content) >= 7 and content[0] == 1:
            grey = int.from_bytes(content[3:7], "big") == _GREY
        elif kind == b"cdef":
            kinds = [int.from_bytes(content[at + 2 : at + 4], "big") for at in range(2, len(content) - 5, 6)]
            opacity = any(kind in _OPACITIES for kind in kinds)
    return Jp2Colours(bands, grey, opacity)


def _boxes(head: bytes, at: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and content of each box, and of those within the header box."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", head, at)
        stop = min(at + size, end) if size >= 8 else end
        if kind == b"jp2h":
            yield from _boxes(head, at + 8, stop)
        else:
            yield kind, head[at + 8 : stop]
        at = stop
