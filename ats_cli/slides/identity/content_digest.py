"""Digests of files from their size and samples of their content: head, middle and tail."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ats_cli.records import Fingerprint

SAMPLE = 4096
ZARR_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")


def together(files: Iterable[tuple[int, bytes, str]]) -> Fingerprint | None:
    """Return the fingerprint of a slide from (size, content digest, modification time) of its files, in any order."""
    found = sorted(files)
    if not found:
        return None
    size = sum(size for size, _, _ in found)
    if len(found) == 1:
        return Fingerprint(f"{size}-{found[0][1].hex()}", found[0][2])
    content, times = digest(*(content for _, content, _ in found)), digest(*(time.encode() for _, _, time in found))
    return Fingerprint(f"{size}-{content.hex()}", times.hex())


def digest(*parts: bytes) -> bytes:
    """Hash byte strings together with their lengths, so that different splits give different digests."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


def samples(size: int) -> list[tuple[int, int]]:
    """Return the ranges (start, stop) to sample: the whole of a small file, else its head, middle and tail.

    >>> samples(100), samples(100_000)
    ([(0, 100)], [(0, 4096), (47952, 52048), (95904, 100000)])
    """
    if size <= 3 * SAMPLE:
        return [(0, size)]
    middle = (size - SAMPLE) // 2
    return [(0, SAMPLE), (middle, middle + SAMPLE), (size - SAMPLE, size)]
