"""Going on with a race: a draw of n tiles is the beginning of any longer one, so what was read is not read again."""

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.drawing import Drawing
from ats_cli.records import SlideError, TilesRead

# By how much log Z of the same slide may differ between two computers or devices. An attention map of another slide,
# or by other nets, differs by much more.
LOG_Z_TOLERANCE = 1e-3


def terms_so_far(drawing: Drawing, before: TilesRead | None, width: int, name: str) -> NDArray[np.float64]:
    """Terms (n, `width`) of a draw's tiles, taken from the shorter draw `before`; NaN for those not read yet. Columns
    after those of the classes are the summaries of the features.

    Tiles that could not be read count as not read: they are tried again, as a draw from the start would.

    Tiles are matched by position, not by place in the order: two arrivals that are as good as equal may change places
    by rounding. Raises SlideError, with the slide's file `name`, when `before` was not the beginning of this draw: the
    file is another one than it was.
    """
    terms = np.full((len(drawing.draw.positions), width), np.nan)
    if before is None:
        return terms
    if not _same_race(drawing, before):
        raise SlideError(
            f"{name}: its attention is not what it was when its first tiles were drawn, so the draw cannot go on. "
            "Give the file that was read then, or start over with --overwrite."
        )
    _, here, there = np.intersect1d(drawing.draw.positions, before.positions, assume_unique=True, return_indices=True)
    known = before.terms if before.features is None else np.hstack([before.terms, before.features])
    terms[here] = np.where(before.readable[there, None], known[there, :width], np.nan)
    return terms


def _same_race(drawing: Drawing, before: TilesRead) -> bool:
    if drawing.race is None or before.log_z is None or before.grid != (drawing.look.rows, drawing.look.cols):
        return False
    same_map = abs(drawing.race.log_z - before.log_z) <= LOG_Z_TOLERANCE
    return same_map and bool(np.isin(before.positions, drawing.draw.positions).all())
