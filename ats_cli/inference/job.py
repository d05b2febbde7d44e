"""What a process is told: once, with which nets to compute; for each slide, what to do. Plain values, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ats_cli.records import Failure, Fingerprint, Prediction, TilesRead
from ats_cli.slides import SlideSource
from ats_cli.zoo import ModelFolder

Told = Callable[[str, int, int], None]
"""Is told of a slide under way: its id, tiles read, tiles to read."""


@dataclass(frozen=True)
class Engine:
    """The nets, what they compute on and in: `device` and `precision` as the user says them."""

    model: ModelFolder
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class Job:
    """One slide to predict.

    `reading` and `drawing` are keywords of `open_slide` and of `predict_slide`. `before`: the tiles of a shorter race
    that this one goes on from, or None.
    """

    source: SlideSource
    reading: Mapping[str, Any] = field(default_factory=dict)
    drawing: Mapping[str, Any] = field(default_factory=dict)
    before: TilesRead | None = None


def failed(
    source: SlideSource,
    model: ModelFolder | Any,
    sentence: str,
    kind: Failure,
    fingerprint: Fingerprint | None = None,
) -> Prediction:
    """The record of a slide that could not be predicted. `model`: a ModelFolder or a LoadedModel."""
    return Prediction(
        slide_id=source.slide_id,
        path=str(source.path),
        status="failed",
        error=sentence,
        failure=kind,
        fingerprint=fingerprint,
        classes=model.spec.classes,
        model_name=model.spec.name,
        model_hash=model.hash,
    )
