"""Resume a race: a draw of n tiles is the beginning of any longer one, so tiles already read are not read again."""

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.inference.draws.plan import DrawPlan
from ats_cli.records import TilesRead

# The largest difference in log Z of one slide between two computers or devices. Attention maps of other slides or
# networks differ by much more.
LOG_Z_TOLERANCE = 1e-3


def resume_race(plan: DrawPlan, previous: TilesRead | None, width: int, file_name: str) -> NDArray[np.float64]:
    """Return the terms (n, `width`) of a plan's tiles, taken from the shorter draw `previous`; NaN for tiles to read.

    Columns after those of the classes are the gate and the summaries of the tiles' features. Tiles that could not be
    read are NaN: they are tried again, as in a draw from the start. Tiles are matched by position, because rounding may
    swap two nearly equal arrivals. Raises SlideError if `previous` is not the beginning of this draw: the file has
    changed.
    """
    terms = np.full((len(plan.draw.positions), width), np.nan)
    if previous is None:
        return terms
    if not _same_race(plan, previous):
        raise SlideError(
            "its attention differs from that of its first tiles, so the draw cannot be extended. Give the file that "
            "was read then, or start over with --overwrite.",
            name=file_name,
        )
    _, rows, previous_rows = np.intersect1d(
        plan.draw.positions, previous.positions, assume_unique=True, return_indices=True
    )
    features = [] if previous.features is None else [previous.features]
    known = np.hstack([previous.terms, previous.gates[:, None], *features])
    terms[rows] = np.where(previous.readable[previous_rows, None], known[previous_rows, :width], np.nan)
    return terms


def _same_race(plan: DrawPlan, previous: TilesRead) -> bool:
    if plan.race is None or previous.log_z is None or previous.grid != plan.grid:
        return False
    same_map = abs(plan.race.log_z - previous.log_z) <= LOG_Z_TOLERANCE
    return same_map and bool(np.isin(previous.positions, plan.draw.positions).all())
