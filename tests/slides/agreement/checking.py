"""Whether `check_slide` finds what was damaged, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agreement.cases import Case
from agreement.damage import Stream, damage
from agreement.writers import Written, write
from ats_cli.errors import SlideError
from ats_cli.slides import Slide, check_slide, open_slide
from ats_cli.slides.check import Problem

_ALL = 1_000_000


def unnoticed(case: Case, kind: str, number: int) -> list[str] | None:
    """What is wrong with the check of a slide before and after damage, as sentences. None where there is nothing of the
    kind to damage."""
    with tempfile.TemporaryDirectory() as folder:
        written = write(case, Path(folder))
        with open_slide(written.path) as slide:
            before, pixels = check_slide(slide, _ALL, threads=2), _levels(slide)
        if not before.sound:
            return [f"damage where there is none: {before.problems[0].sentence}"]
        touched = damage(kind, case, written, number)
        if touched is None:
            return None
        try:
            with open_slide(written.path) as slide:
                found = check_slide(slide, _ALL, threads=2)
                if found.sound:
                    if all(np.array_equal(a, b) for a, b in zip(pixels, _levels(slide), strict=True)):
                        return None  # other bytes of the same pixels: a run may be coded in several ways
                    at = touched[0]
                    return [
                        f"{kind}: row {at.row}, column {at.col} of level {at.level} is sound, of {found.tiles} tiles"
                    ]
                beyond = [p for p in found.problems if not any(_is_of(p, s, slide, written) for s in touched)]
                return [f"{kind}: damage that was not done: {p.sentence}" for p in beyond[:1] if _placed(case)]
        except SlideError:
            return []
        except Exception as error:  # of whatever kind: a user would see a traceback
            return [f"{type(error).__name__}: {error}"]


def _levels(slide: Slide) -> list[NDArray[np.uint8]]:
    """The pixels of all levels."""
    boxes = [(0, 0, level.width, level.height) for level in slide.levels]
    return [next(slide.scan_level(number, [box])).pixels for number, box in enumerate(boxes)]


def _placed(case: Case) -> bool:
    """Whether a problem lies where its bytes do: not in a turned image, in strips cut anew, or in one file for all."""
    return case.orientation == 1 and case.tile[0] > 0 and case.variant not in ("v3 zip", "v3 sharded")


def _is_of(problem: Problem, stream: Stream, slide: Slide, written: Written) -> bool:
    """Whether a stream lies in the tile that is said to be damaged."""
    level, (rows, cols) = slide.levels[problem.level], written.stored[stream.level].tile
    across, down = stream.col * cols - problem.x, stream.row * rows - problem.y
    return problem.level == stream.level and 0 <= across < level.tile_width and 0 <= down < level.tile_height
