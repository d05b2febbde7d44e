"""The parts of a prediction: the draw, its cost, the provenance, and the comparison with the training slides.

Each field of a prediction and of its parts is a column, unless it is NOT_WRITTEN: a key of the JSON record, and with
`csv` a column of predictions.csv. `results.columns` derives both from the fields, and how a record is read back. So a
new column is one new field. A value that does not apply is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ats_cli.records import Fingerprint, RegionsUsed


class ModelName(NamedTuple):
    """The model that a prediction was made with. `hash`: of its files."""

    name: str
    hash: str


NOT_WRITTEN = {"written": False}
"""Metadata of a field of a prediction that is no column."""


def csv(place: int, heading: str = "") -> dict[str, Any]:
    """Return the metadata of a field of a prediction that is also a column of predictions.csv.

    place: orders the columns. heading: of a field with a value per class, what precedes the class.
    """
    return {"csv_place": place, "csv_heading": heading}


@dataclass(frozen=True)
class Sampling:
    """The draw of tiles.

    effective_tiles: how many tiles the answer rests on, (sum w g)^2 / sum (w g)^2.
    tiles_unreadable: how many of the `tiles` drawn could not be read.
    mass_unreadable: the estimated share of the attention on what cannot be read.
    settled: with a confidence, whether the class was settled before the budget was spent.
    """

    tiles: int | None = field(default=None, metadata=csv(80))
    positions: int | None = field(default=None, metadata=csv(90))
    attention_mass: float | None = field(default=None, metadata=csv(100))
    effective_positions: float | None = field(default=None, metadata=csv(110))
    effective_tiles: float | None = field(default=None, metadata=csv(111))
    tiles_unreadable: int | None = field(default=None, metadata=csv(120))
    mass_unreadable: float | None = None
    sampler: str | None = None
    seed: int | None = None
    settled: bool | None = None


@dataclass(frozen=True)
class Cost:
    """What a prediction cost. `bytes_view`: the part of `bytes_read` that was read before the first tile.

    seconds: of each stage of the work, and their `total`.
    """

    bytes_read: int | None = field(default=None, metadata=csv(130))
    bytes_view: int | None = None
    bytes_total: int | None = None
    seconds: dict[str, float] | None = field(default=None, metadata=csv(140))


@dataclass(frozen=True)
class Provenance:
    """The file that a prediction was computed from, and the precision of the computation.

    regions: those that the tiles were drawn from; None for the whole slide.
    size: (width, height) of level 0. bounds: (x, y, width, height), the part of level 0 that QuPath shows; None for
    all. pitch: side of a position in level-0 pixels.
    """

    mpp: float | None = field(default=None, metadata=csv(150))
    mpp_source: str | None = field(default=None, metadata=csv(160))
    reader: str | None = None
    regions: RegionsUsed | None = None
    fingerprint: Fingerprint | None = None
    precision: str | None = field(default=None, metadata=csv(170))
    size: tuple[int, ...] | None = None
    bounds: tuple[int, ...] | None = None
    pitch: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A slide compared with those that the model was trained on, `unfamiliar_to`.

    unfamiliar: whether the distance of its `embedding` from theirs exceeds the limit.
    unfamiliar_score: the distance divided by the limit.
    """

    unfamiliar: bool | None = field(default=None, metadata=csv(180))
    unfamiliar_score: float | None = field(default=None, metadata=csv(190))
    unfamiliar_to: str | None = None
    embedding: NDArray[np.float64] | None = field(default=None, repr=False, compare=False, metadata=NOT_WRITTEN)
