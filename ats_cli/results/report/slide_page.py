"""The page of one slide: its overlay, and the tiles that decided most. The report of the run contains its section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ats_cli.records import Prediction
from ats_cli.registry import TASKS
from ats_cli.results.evidence import answered_class, by_evidence
from ats_cli.results.report.environment import template
from ats_cli.results.report.pictures import overlay_uri, tile_uri

# Tiles of a slide that are shown, at least half of them for the answer if there are so many.
TILES = 10

# The lines around the section in templates/slide.html. No name can contain them: "<" is escaped.
SECTION, SECTION_END = "<!-- section of the slide -->\n", "<!-- end of the section -->\n"


@dataclass(frozen=True)
class ShownTile:
    """A tile in the report.

    rank: 1 for the most evidence for the answer. picture: a data URI. attention: in multiples of its average over the
    positions. x, y: its top left corner in level-0 pixels.
    """

    rank: int
    picture: str
    evidence: float
    attention: float
    weight: float
    x: int
    y: int


@dataclass(frozen=True)
class SlideDetails:
    """What the page of a slide shows besides the record.

    overlay: a data URI. view_problem: why a part of the view, left white, could not be read. class_name: of the
    evidence. supporting, opposing: the tiles with the most evidence for and against it, strongest first.
    sum_for, sum_against: the evidence of all tiles that were read; with the bias they sum to the logit.
    """

    overlay: str
    view_problem: str | None
    class_name: str
    supporting: Sequence[ShownTile]
    opposing: Sequence[ShownTile]
    sum_for: float
    sum_against: float
    bias: float


def slide_page(prediction: Prediction) -> str:
    """Return the page of a slide, whose prediction has tiles, attention, view and patches."""
    task = TASKS[prediction.task]
    return template("slide.html").render(
        p=prediction,
        anchor=anchor(prediction.slide_id),
        details=_details(prediction),
        heading=task.heading,
        shown=task.shown(prediction),
    )


def read_section(page: Path) -> str | None:
    """Return the section of a page that `slide_page` made; None if there is no such page."""
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    section, end, _ = text.partition(SECTION)[2].rpartition(SECTION_END)
    return section if end else None


def anchor(slide_id: str) -> str:
    """Return the name of a slide's section in the page: unique, and safe in a link whatever the slide is called."""
    return f"slide-{sha256(slide_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _details(prediction: Prediction) -> SlideDetails:
    tiles = prediction.tile_arrays
    assert tiles is not None
    order, values = by_evidence(prediction)
    number = answered_class(prediction)
    supporting, opposing = _chosen(values[order])
    shown = [_shown_tile(prediction, rank, int(order[rank]), float(values[order[rank]])) for rank in supporting]
    against = [_shown_tile(prediction, rank, int(order[rank]), float(values[order[rank]])) for rank in opposing]
    return SlideDetails(
        overlay_uri(prediction),
        None if prediction.pixels is None else prediction.pixels.view_problem,
        prediction.classes[number],
        shown,
        against,
        sum_for=float(values[order][values[order] > 0].sum()),
        sum_against=float(values[order][values[order] < 0].sum()),
        bias=float(tiles.bias[number]),
    )


def _chosen(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[list[int], list[int]]:
    """Return the places of the tiles for and against the answer in `values`, which descend; strongest first.

    >>> _chosen(np.array([3.0, 2.0, 0.0, -1.0]))
    ([0, 1], [3])
    """
    positive, negative = int((values > 0).sum()), int((values < 0).sum())
    supporting = min(positive, max(TILES // 2, TILES - negative))
    opposing = min(negative, TILES - supporting)
    last = len(values) - 1
    return list(range(supporting)), [last - place for place in range(opposing)]


def _shown_tile(prediction: Prediction, rank: int, index: int, value: float) -> ShownTile:
    tiles, pixels = prediction.tile_arrays, prediction.pixels
    assert tiles is not None and pixels is not None and pixels.patches is not None
    x, y = (round(float(corner)) for corner in tiles.boxes[index, :2])
    return ShownTile(
        rank + 1,
        tile_uri(pixels.patches[index]),
        value,
        float(tiles.attention[index]) * (prediction.sampling.positions or 1),
        float(tiles.weights[index]),
        x,
        y,
    )
