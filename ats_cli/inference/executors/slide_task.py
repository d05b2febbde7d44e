"""What an executor hands to the process that predicts: a model's configuration, then one task per slide. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ats_cli.errors import Failure
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.prediction_parts import ModelName, Provenance
from ats_cli.records import Fingerprint, Prediction, TilesRead
from ats_cli.slides import SlideSource
from ats_cli.slides.options import OpenOptions
from ats_cli.zoo import ModelFolder

OnProgress = Callable[[str, int, int], None]
"""Called while a slide is predicted: its id, tiles read, tiles to read."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model to load, and onto what: `device` and `precision` as the user gives them."""

    model: ModelFolder
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class SlideTask:
    """One slide to predict.

    `before`: the tiles of a shorter race that this one continues, or None.
    """

    source: SlideSource
    open_options: OpenOptions = field(default_factory=OpenOptions)
    draw_options: DrawOptions = field(default_factory=DrawOptions)
    before: TilesRead | None = None


def failed(
    source: SlideSource,
    model: ModelFolder | Any,
    sentence: str,
    kind: Failure,
    fingerprint: Fingerprint | None = None,
) -> Prediction:
    """Return the record of a slide that could not be predicted. `model`: a ModelFolder or a LoadedModel."""
    return Prediction(
        slide_id=source.slide_id,
        path=source.given,
        status="failed",
        error=sentence,
        failure=kind,
        classes=model.spec.classes,
        provenance=Provenance(fingerprint=fingerprint),
        model=ModelName(model.spec.name, model.hash),
    )
