"""Check the checksums of PNG chunks. Decoders do not verify those of the pixel data."""

from __future__ import annotations

import zlib
from pathlib import Path

_SIGNATURE_BYTES = 8
_PIECE_BYTES = 1 << 20


def check_png(path: Path) -> None:
    """Compare the CRC of every chunk up to the end marker (PNG specification, section 5.3).

    Raises ValueError where one differs, or where the file ends before the end marker.
    """
    with path.open("rb") as file:
        file.seek(_SIGNATURE_BYTES)
        while True:
            head = file.read(8)
            if len(head) < 8:
                raise ValueError("the file ends before its end marker")
            left, kind = int.from_bytes(head[:4]), head[4:]
            crc = zlib.crc32(kind)
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise ValueError("the file ends before its end marker")
                crc, left = zlib.crc32(piece, crc), left - len(piece)
            if file.read(4) != crc.to_bytes(4):
                raise ValueError(f"the checksum of a chunk {kind.decode('ascii', 'replace')} does not match")
            if kind == b"IEND":
                return
