"""What a reader is: the small contract between a slide's geometry and the bytes of one format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import SlideError

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of a level, inside its bounds."""

MPP_BELIEVED = (0.05, 20.0)
"""Microns per pixel that a file is believed; anything else must be given by hand."""

MPP_OF_POWER = {40.0: 0.25, 20.0: 0.5, 10.0: 1.0, 5.0: 2.0}
"""A last resort: microns per pixel that scanners have, as a rule, at an objective's power."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide. `downsample` is level-0 pixels per pixel of this level.

    `tile_width` and `tile_height` are the file's own tiles, in pixels of this level: what one decode costs.
    `compression` is empty where the reader does not tell.
    """

    width: int
    height: int
    downsample: float
    tile_width: int
    tile_height: int
    compression: str


class Reader(Protocol):
    """Pixels and facts of one open file. Level 0 is the finest; levels grow coarser.

    `mpp` is what the file says of level 0, (x, y) in microns per pixel, believed or not; `mpp_source` says where.
    `bytes_read` counts what was read from disk so far, None where the reader cannot know; `resident_bytes` is
    the memory that `close()` would give back; `holds_handle` tells whether a file stays open between calls.
    """

    @property
    def name(self) -> str: ...
    @property
    def vendor(self) -> str: ...
    @property
    def levels(self) -> tuple[Level, ...]: ...
    @property
    def properties(self) -> dict[str, str]: ...
    @property
    def mpp(self) -> tuple[float, float] | None: ...
    @property
    def mpp_source(self) -> str | None: ...
    @property
    def bytes_read(self) -> int | None: ...
    @property
    def resident_bytes(self) -> int: ...
    @property
    def holds_handle(self) -> bool: ...

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Pixels]:
        """Yield (height, width, 3) uint8 RGB for each box, in order. Raises SlideError."""
        ...

    def close(self) -> None: ...


def level_downsample(size: tuple[int, int], level: tuple[int, int]) -> float | None:
    """Level-0 pixels per level pixel, from the (width, height) of both; None if `level` is no reduced copy.

    Writers floor, ceil or round a level's size, so the ratio of the sizes is a little off: 4443 / 2221 is not 2.
    Where a power of two, or else any integer, explains both sizes to a pixel, that integer is the truth.

    >>> level_downsample((4443, 3567), (2221, 1783))
    2.0
    >>> level_downsample((1000, 700), (400, 280))
    2.5
    """
    (width, height), (w, h) = size, level
    if w < 1 or h < 1 or w > width or h > height:
        return None
    ratio = (width / w + height / h) / 2

    def explains(d: float, slack: float) -> bool:
        return abs(w * d - width) <= slack * d and abs(h * d - height) <= slack * d

    for d in (2 ** round(math.log2(ratio)), round(ratio), math.floor(ratio), math.ceil(ratio)):
        if explains(d, 1.0):
            return float(d)
    return ratio if explains(ratio, 1.5) else None


def over_white(rgb: Pixels, alpha: Pixels, premultiplied: bool = False) -> Pixels:
    """`rgb` (rows, cols, 3) seen through `alpha` (rows, cols) on white paper."""
    if alpha.size == 0 or alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    a = alpha[..., None].astype(np.float32) / 255
    ink = rgb.astype(np.float32) if premultiplied else rgb * a
    out: Pixels = np.clip(ink + 255 * (1 - a) + 0.5, 0, 255).astype(np.uint8)
    return out


def unreadable(path: Path, error: BaseException, what: str = "could not be read") -> SlideError:
    """A library's error as one line that begins with the slide's name."""
    reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
    return SlideError(f"{path.name}: {what} ({reason.rstrip('.')[:300]}).")
