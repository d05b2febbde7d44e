"""The protocol of a reader: what `Slide` needs to know of an open file in any format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.remote.path import AnyPath

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of a level, inside its bounds."""

ACCEPTED_MPP = (0.05, 20.0)
"""Range of microns per pixel that is accepted from a file; other values must be given by hand."""

MPP_OF_POWER = {40.0: 0.25, 20.0: 0.5, 10.0: 1.0, 5.0: 2.0}
"""Typical microns per pixel of scanners by objective power. Used if the file states nothing better."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    width, height: in pixels of this level.
    downsample: level-0 pixels per pixel of this level.
    tile_width, tile_height: of the file's native tiles, in pixels of this level.
    compression: name of the codec; "" if the reader does not know.
    """

    width: int
    height: int
    downsample: float
    tile_width: int
    tile_height: int
    compression: str

    @property
    def tiles_across(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def tiles_down(self) -> int:
        return -(-self.height // self.tile_height)


class InFinerLevel(str):
    """A reason of `Damage` that is no fault: the level does not hold a native tile, but a finer level does."""


class Damage(NamedTuple):
    """A part of a level that the file holds but that cannot be read.

    box: where, in pixels of the level.
    reason: a sentence. Readers leave out the slide's name; `Slide` puts it in front.
    """

    box: Box
    reason: str


class Region(NamedTuple):
    """The pixels under a box, (height, width, 3) uint8 RGB; white inside the boxes of `damage`."""

    pixels: Pixels
    damage: tuple[Damage, ...] = ()


class Reader(Protocol):
    """Pixels and metadata of one open file.

    name: of the format, as in `registry.FORMATS`.
    levels: finest first.
    mpp: (x, y) microns per pixel of level 0 as the file states it, plausible or not; `mpp_source` says where.
    identity: seeds draws in place of the file's name, for slides of several files (a DICOM series' UID); else None.
    plane: the plane that is shown, as text; None if the file has only one.
    bytes_total: size of all files of the slide; None if unknown.
    bytes_read: bytes read so far; None if they are not counted.
    resident_bytes: memory that `close()` frees.
    holds_handle: whether a file stays open between calls.
    """

    @property
    def name(self) -> str: ...
    @property
    def vendor(self) -> str: ...
    @property
    def levels(self) -> tuple[Level, ...]: ...
    @property
    def reduced(self) -> tuple[Level, ...]:
        """Further levels that the decoder computes at low cost, exact to about one grey level; for views only.

        `read` numbers them after `levels`.
        """
        ...

    @property
    def properties(self) -> dict[str, str]: ...
    @property
    def mpp(self) -> tuple[float, float] | None: ...
    @property
    def mpp_source(self) -> str | None: ...
    @property
    def identity(self) -> str | None: ...
    @property
    def plane(self) -> str | None: ...
    @property
    def files(self) -> Sequence[Path]:
        """The local files that hold the pixels, as far as known; empty for a remote slide."""
        ...

    @property
    def absent_is_white(self) -> bool:
        """Whether tiles of `absent` are white at every level. If not, they have the colour that the file states."""
        ...

    @property
    def bytes_total(self) -> int | None: ...
    @property
    def bytes_read(self) -> int | None: ...
    @property
    def resident_bytes(self) -> int: ...
    @property
    def holds_handle(self) -> bool: ...

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        """Yield the region under each box, in order. Decode a native tile that several boxes share once.

        A native tile that cannot be read or decoded is `Damage` of the regions that it touches. Raises SlideError if
        nothing more can be read at all.
        """
        ...

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        """Return which native tiles of a level the file's index leaves out, (tile rows, tile cols) bool.

        They are background. None if the file holds all, or the reader cannot know.
        """
        ...

    def color_profile(self) -> bytes | None:
        """Return the ICC profile that the file embeds for this image; None if there is none."""
        ...

    def close(self) -> None: ...


def level_downsample(size: tuple[int, int], level: tuple[int, int]) -> float | None:
    """Return the downsample of a level from the (width, height) of level 0 and of the level.

    Writers floor, ceil or round a level's size, so the ratio of sizes is inexact: 4443 / 2221 is not 2. If a power of
    two, or any integer, explains both sizes to one pixel, it is returned. None if `level` is not a reduced copy.

    >>> level_downsample((4443, 3567), (2221, 1783))
    2.0
    >>> level_downsample((1000, 700), (400, 280))
    2.5
    >>> level_downsample((400, 31), (25, 1))
    16.0
    """
    (width, height), (w, h) = size, level
    if w < 1 or h < 1 or w > width or h > height:
        return None
    mean, longer = (width / w + height / h) / 2, width / w if width >= height else height / h

    def explains(d: float, slack: float) -> bool:
        return abs(w * d - width) <= slack * d and abs(h * d - height) <= slack * d

    # Rounding changes the ratio of the longer side least; for an image a few pixels high it may double the other.
    for ratio in (mean, longer):
        for d in (2 ** round(math.log2(ratio)), round(ratio), math.floor(ratio), math.ceil(ratio)):
            if explains(d, 1.0):
                return float(d)
    return next((ratio for ratio in (mean, longer) if explains(ratio, 1.5)), None)


def cut(box: Box, width: int, height: int) -> Iterator[Box]:
    """Cut a box at the edges of tiles of `width` x `height` pixels, counted from the level's corner.

    >>> list(cut((6, 0, 6, 4), 8, 8))
    [(6, 0, 2, 4), (8, 0, 4, 4)]
    """
    x, y, box_width, box_height = box
    for top in range(y // height * height, y + box_height, height):
        for left in range(x // width * width, x + box_width, width):
            x0, y0 = max(x, left), max(y, top)
            yield x0, y0, min(x + box_width, left + width) - x0, min(y + box_height, top + height) - y0


def over_white(rgb: Pixels, alpha: Pixels, premultiplied: bool = False) -> Pixels:
    """Composite `rgb` (rows, cols, 3) with `alpha` (rows, cols) over white."""
    if alpha.size == 0 or alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    a = alpha[..., None].astype(np.float32) / 255
    ink = rgb.astype(np.float32) if premultiplied else rgb * a
    out: Pixels = np.clip(ink + 255 * (1 - a) + 0.5, 0, 255).astype(np.uint8)
    return out


HEADER_DAMAGED = "its header is damaged, cut short or of a kind that is not read"


def unreadable(path: AnyPath, error: BaseException, what: str = "could not be read") -> SlideError:
    """Return a library's error as a SlideError of one line. The file's name replaces its path in the text."""
    reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
    return SlideError(f"{what} ({reason.rstrip('.')[:300]}).")
