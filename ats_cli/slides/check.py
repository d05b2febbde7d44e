"""Check a slide for damage: read the corners of every level, and a random sample of its native tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ats_cli.errors import SlideError
from ats_cli.slides.reader import Box, InFinerLevel, Level
from ats_cli.slides.slide import Slide

# Larger native tiles are decoded whole, but only a corner is returned, to save memory.
_LARGEST = 1024
# Codecs whose streams end in a checksum that the decoder verifies.
_CHECKSUMS = {"adobe_deflate", "deflate", "gzip", "zlib", "crc32c"}


@dataclass(frozen=True)
class Problem:
    """A native tile that the file has but that cannot be read: its level, its corner in level pixels, and why."""

    level: int
    x: int
    y: int
    sentence: str


@dataclass(frozen=True)
class Check:
    """The result of a check.

    tiles: native tiles that were read, of `tiles_total` that the file holds.
    problems: damaged tiles. A file without any native tile is one problem.
    checksums: whether the codecs of all levels verify checksums. If not, changed bytes that still decode are missed.
    """

    tiles: int
    tiles_total: int
    problems: tuple[Problem, ...]
    checksums: bool = False

    @property
    def sound(self) -> bool:
        return not self.problems


def check_slide(slide: Slide, tiles: int = 100, seed: int = 0, threads: int = 4) -> Check:
    """Read the four corners of each level and `tiles` more native tiles, drawn at random with `seed`.

    Tiles that the file's index leaves out are not read. Damage is returned, not raised.
    """
    absent = [slide.absent(level) for level in range(len(slide.levels))]
    stored = [
        np.flatnonzero(~gone) if gone is not None else range(level.tiles_across * level.tiles_down)
        for level, gone in zip(slide.levels, absent, strict=True)
    ]
    ends = np.cumsum([len(numbers) for numbers in stored])
    total = int(ends[-1])
    chosen = np.random.default_rng(seed).choice(total, min(tiles, total), replace=False) if total else np.empty(0, int)
    problems: list[Problem] = []
    tried = 0
    for number, level in enumerate(slide.levels):
        start = int(ends[number]) - len(stored[number])
        sample = {int(stored[number][i - start]) for i in chosen[(chosen >= start) & (chosen < ends[number])]}
        gone = absent[number]
        sample |= {tile for tile in _corners(level) if gone is None or not gone.flat[tile]}
        tried += len(sample)
        problems += _problems(slide, number, sorted(sample), threads)
    if not tried:
        nothing = (
            f"{slide.path.name}: the file holds no native tile, so that nothing can be read. Copy or export it again."
        )
        problems.append(Problem(0, 0, 0, nothing))
    return Check(tried, total, tuple(problems), all(level.compression in _CHECKSUMS for level in slide.levels))


def _problems(slide: Slide, number: int, tiles: list[int], threads: int) -> Iterator[Problem]:
    level = slide.levels[number]
    boxes = [_box(level, tile) for tile in tiles]
    try:
        for box, region in zip(boxes, slide.scan_level(number, boxes, threads), strict=True):
            damage = [part.reason for part in region.damage if not isinstance(part.reason, InFinerLevel)]
            if damage:
                yield Problem(number, box[0], box[1], damage[0])
    except SlideError as error:  # no tile of the level can be read
        yield Problem(number, boxes[0][0], boxes[0][1], str(error))


def _corners(level: Level) -> set[int]:
    across, down = level.tiles_across, level.tiles_down
    return {0, across - 1, (down - 1) * across, down * across - 1}


def _box(level: Level, tile: int) -> Box:
    row, col = divmod(tile, level.tiles_across)
    x, y = col * level.tile_width, row * level.tile_height
    width, height = min(level.tile_width, level.width - x), min(level.tile_height, level.height - y)
    return x, y, min(width, _LARGEST), min(height, _LARGEST)
