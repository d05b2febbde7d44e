"""What `ats predict` is asked to do, as one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ats_cli.inference.executors.executor import ExecutorOptions
from ats_cli.records import MAX_UNREADABLE
from ats_cli.results.groups import GroupBy
from ats_cli.slides import SlideSource


@dataclass(frozen=True)
class PredictionRequest:
    """What `ats predict` is asked to do.

    sources: the slides; with `extend` and none, those of the run in `output`.
    settings: those that the call names, by name; the others are of the run that is extended, or the defaults.
    model: a folder or a name, None for the default.
    max_unreadable, batch_size: as in `DrawOptions`.
    roi: a file of regions, or a folder with one a slide, for slides that have none of their own; None for whole slides.
    download: whether remote slides may be fetched whole.
    shard: (I, N), predict only the I-th of N parts of the slides.
    output: the run folder; None for none. `extend`, `retry_failed`, `overwrite`: as the options of `ats predict`.
    outputs: options that ask for optional outputs of each slide, as `Writer.option`.
    arguments: the command line, for the run folder's record.
    """

    sources: Sequence[SlideSource]
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    mpp: float | None = None
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)
    max_unreadable: float = MAX_UNREADABLE
    batch_size: int | None = None
    roi: Path | None = None
    download: bool = False
    group_by: GroupBy | None = None
    shard: tuple[int, int] | None = None
    output: Path | None = None
    extend: bool = False
    retry_failed: bool = False
    overwrite: bool = False
    outputs: frozenset[str] = frozenset()
    arguments: Sequence[str] = ()
