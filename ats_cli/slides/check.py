"""Is a slide sound? The corners of every level, and a random sample of all its native tiles, read and decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ats_cli.errors import SlideError
from ats_cli.slides.reader import Box, InFinerLevel, Level
from ats_cli.slides.slide import Slide

# Of a native tile larger than this a corner is asked for: it is decoded whole, but not kept whole.
_LARGEST = 1024
# Compressions of which each stream ends in a checksum that its decoder compares.
_CHECKSUMS = {"adobe_deflate", "deflate", "gzip", "zlib", "crc32c"}


@dataclass(frozen=True)
class Problem:
    """A native tile that is in the file and cannot be read: its level and corner, in pixels of that level, and why."""

    level: int
    x: int
    y: int
    sentence: str


@dataclass(frozen=True)
class Check:
    """What was found: how many native tiles were tried, of how many that the file holds, and which are damaged.

    Where there is none to try, that is the problem. `checksums`: whether the bytes of all levels carry one; without,
    bytes that were changed and still decode are not found.
    """

    tiles: int
    tiles_total: int
    problems: tuple[Problem, ...]
    checksums: bool = False

    @property
    def sound(self) -> bool:
        return not self.problems


def check_slide(slide: Slide, tiles: int = 100, seed: int = 0, threads: int = 4) -> Check:
    """Try the four corners of each level and `tiles` more native tiles of the whole file, drawn at random by `seed`.

    Tiles that the file's index says it does not hold are no damage, and are not tried. Nothing is raised for what
    cannot be read.
    """
    absent = [slide.absent(level) for level in range(len(slide.levels))]
    held = [
        np.flatnonzero(~gone) if gone is not None else range(level.tiles_across * level.tiles_down)
        for level, gone in zip(slide.levels, absent, strict=True)
    ]
    ends = np.cumsum([len(numbers) for numbers in held])
    total = int(ends[-1])
    chosen = np.random.default_rng(seed).choice(total, min(tiles, total), replace=False) if total else np.empty(0, int)
    problems: list[Problem] = []
    tried = 0
    for number, level in enumerate(slide.levels):
        start = int(ends[number]) - len(held[number])
        sample = {int(held[number][i - start]) for i in chosen[(chosen >= start) & (chosen < ends[number])]}
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
    except SlideError as error:  # nothing more can be read at all
        yield Problem(number, boxes[0][0], boxes[0][1], str(error))


def _corners(level: Level) -> set[int]:
    across, down = level.tiles_across, level.tiles_down
    return {0, across - 1, (down - 1) * across, down * across - 1}


def _box(level: Level, tile: int) -> Box:
    row, col = divmod(tile, level.tiles_across)
    x, y = col * level.tile_width, row * level.tile_height
    width, height = min(level.tile_width, level.width - x), min(level.tile_height, level.height - y)
    return x, y, min(width, _LARGEST), min(height, _LARGEST)
