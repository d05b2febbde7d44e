"""What a reader is: the small contract between a slide's geometry and the bytes of one format."""

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

    @property
    def tiles_across(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def tiles_down(self) -> int:
        return -(-self.height // self.tile_height)


class InFinerLevel(str):
    """Why a native tile of a lower level is read from a finer one: the file does not hold it there. A reason of
    `Damage` that is no fault of the file."""


class Damage(NamedTuple):
    """A part of a level that is in the file but cannot be read: where, and a sentence why.

    Readers leave the slide's name out of the sentence; `Slide` puts it in front.
    """

    box: Box
    reason: str


class Region(NamedTuple):
    """What a box holds: (height, width, 3) uint8 RGB, white where `damage` says that nothing could be read."""

    pixels: Pixels
    damage: tuple[Damage, ...] = ()


class Reader(Protocol):
    """Pixels and facts of one open file. Level 0 is the finest; levels grow coarser.

    `mpp` is what the file says of level 0, (x, y) in microns per pixel, believed or not; `mpp_source` says where.
    `bytes_total` is the size of all that belongs to the slide, None where unknown; `bytes_read` counts what was read
    so far, None where the reader cannot know; `resident_bytes` is the memory that `close()` would give back;
    `holds_handle` tells whether a file stays open between calls. `identity` is what a draw is seeded by in the place
    of the file's name, where a slide is many files: a DICOM series' UID; else None. `plane` says which of
    several planes is shown, None where there is but one.
    """

    @property
    def name(self) -> str: ...
    @property
    def vendor(self) -> str: ...
    @property
    def levels(self) -> tuple[Level, ...]: ...
    @property
    def reduced(self) -> tuple[Level, ...]:
        """Further levels that decoding gives cheaply, in place of reading all of a fine one: true to about a grey
        level, so for views only. `read` numbers them after `levels`."""
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
        """The files on a disk that the pixels come from, as far as they are known; none of a slide far away."""
        ...

    @property
    def absent_is_white(self) -> bool:
        """Whether a tile of `absent` is white at every level; else it has the colour that the file says."""
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
        """Yield the region under each box, in order; each native tile is read and decoded once where that is known.

        A native tile that is there but cannot be read or decoded is damage of the regions that it touches. Raises
        SlideError where nothing more can be read at all.
        """
        ...

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        """Which native tiles of a level the file itself says it does not hold, (tile rows, tile cols) of `Level`'s
        tiles: they are background, read as white. None where all are there or the reader cannot know."""
        ...

    def color_profile(self) -> bytes | None:
        """The ICC profile that the file embeds for this image; None if there is none. Read when asked for."""
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
    >>> level_downsample((400, 31), (25, 1))
    16.0
    """
    (width, height), (w, h) = size, level
    if w < 1 or h < 1 or w > width or h > height:
        return None
    mean, longer = (width / w + height / h) / 2, width / w if width >= height else height / h

    def explains(d: float, slack: float) -> bool:
        return abs(w * d - width) <= slack * d and abs(h * d - height) <= slack * d

    # Rounding hardly changes the longer side; of an image a few pixels high it may double the other side's ratio.
    for ratio in (mean, longer):
        for d in (2 ** round(math.log2(ratio)), round(ratio), math.floor(ratio), math.ceil(ratio)):
            if explains(d, 1.0):
                return float(d)
    return next((ratio for ratio in (mean, longer) if explains(ratio, 1.5)), None)


def cut(box: Box, width: int, height: int) -> Iterator[Box]:
    """Cut a box along the grid of tiles `width` x `height` that begins at the level's corner.

    >>> list(cut((6, 0, 6, 4), 8, 8))
    [(6, 0, 2, 4), (8, 0, 4, 4)]
    """
    x, y, box_width, box_height = box
    for top in range(y // height * height, y + box_height, height):
        for left in range(x // width * width, x + box_width, width):
            x0, y0 = max(x, left), max(y, top)
            yield x0, y0, min(x + box_width, left + width) - x0, min(y + box_height, top + height) - y0


def over_white(rgb: Pixels, alpha: Pixels, premultiplied: bool = False) -> Pixels:
    """`rgb` (rows, cols, 3) seen through `alpha` (rows, cols) on white paper."""
    if alpha.size == 0 or alpha.min() == 255:
        return np.ascontiguousarray(rgb)
    a = alpha[..., None].astype(np.float32) / 255
    ink = rgb.astype(np.float32) if premultiplied else rgb * a
    out: Pixels = np.clip(ink + 255 * (1 - a) + 0.5, 0, 255).astype(np.uint8)
    return out


def unreadable(path: AnyPath, error: BaseException, what: str = "could not be read") -> SlideError:
    """Return a library's error as a SlideError of one line. The file's name replaces its path in the text."""
    reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
    return SlideError(f"{what} ({reason.rstrip('.')[:300]}).")
