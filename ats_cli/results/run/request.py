"""The slides, settings and model with which a run folder is begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ats_cli.records import DEFAULT_TASK
from ats_cli.results.groups import GroupBy
from ats_cli.results.run.run_file import RunSlide


@dataclass(frozen=True)
class RunRequest:
    """The slides of a run and what they are predicted with.

    settings: by name; they must be those of the run that is continued. model: {name, hash, folder}.
    classes, task: of the model. facts: added to run.json. group_by: None for the grouping that the run has.
    """

    slides: Sequence[RunSlide]
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    classes: tuple[str, ...]
    facts: Mapping[str, Any]
    task: str = DEFAULT_TASK
    group_by: GroupBy | None = None
