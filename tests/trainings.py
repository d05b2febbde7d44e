"""Trainings whose options are given as keywords: the fields of all option records together."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ats_cli.records import ModelSpec
from ats_cli.training import (
    Callbacks,
    DataOptions,
    LabelledSlide,
    RecipeOptions,
    TrainOptions,
    train_folder,
    train_model,
)
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.train import TrainingResult


def train_into(output: Path, *, command: str = "", **given: Any) -> TrainingResult:
    """`train_folder`, with the fields of its records as keywords."""
    data, recipe, options, callbacks = _records(given, DataOptions, RecipeOptions, TrainOptions, Callbacks)
    return train_folder(output, data, recipe, options, command=command, callbacks=callbacks)


def train_slides(
    spec: ModelSpec,
    train: list[LabelledSlide],
    validation: list[LabelledSlide],
    log: TrainingLog | None = None,
    **given: Any,
) -> TrainingResult:
    """`train_model`, with the fields of its records as keywords."""
    options, callbacks = _records(given, TrainOptions, Callbacks)
    return train_model(spec, train, validation, options, log=log, callbacks=callbacks)


def _records(given: dict[str, Any], *kinds: Any) -> list[Any]:
    rest = dict(given)
    records = [kind(**{f.name: rest.pop(f.name) for f in fields(kind) if f.name in rest}) for kind in kinds]
    assert not rest, f"no such options: {sorted(rest)}"
    return records
