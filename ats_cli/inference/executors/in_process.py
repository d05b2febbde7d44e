"""Predict slides in this process, one after the other. A slide that fails is a record among the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.executors.predict_task import load_configured_model, predict_task
from ats_cli.inference.executors.slide_task import ModelConfig, OnProgress, SlideTask, slide_tasks
from ats_cli.records import Prediction
from ats_cli.slides import SlideSource
from ats_cli.slides.options import OpenOptions, RegionOptions
from ats_cli.zoo import LoadedModel


def predict_many(
    sources: Sequence[SlideSource],
    model: LoadedModel,
    *,
    backend: str | None = None,
    plane: Any = None,
    color_profile: str = "none",
    download: bool = False,
    regions: RegionOptions = RegionOptions(),
    **draw: Any,
) -> Iterator[Prediction]:
    """Yield one Prediction per slide, in order, each as it finishes.

    `backend`, `plane`, `color_profile` and `download` are options of `open_slide`; `regions`: how the files of regions
    of `sources` are read; `draw`: the fields of `DrawOptions`.
    """
    open_options = OpenOptions(backend, plane, color_profile, download)
    for task in slide_tasks(sources, open_options, DrawOptions(**draw), regions):
        yield predict_task(task, model)


class InProcess:
    """Predicts in this process: for a single slide. A reader that crashes ends the run."""

    def __init__(self, config: ModelConfig) -> None:
        self._model = load_configured_model(config)
        self.device, self.precision = str(self._model.device), self._model.precision
        self._active: tuple[str, float] | None = None

    def predict(self, tasks: Iterable[SlideTask], on_progress: OnProgress) -> Iterator[Prediction]:
        """Yield one Prediction per task, in order."""
        for task in tasks:
            self._active = task.source.slide_id, time.monotonic()
            yield predict_task(task, self._model, on_progress)

    def active_slides(self) -> list[tuple[str, float]]:
        """Return the slide being predicted: (slide id, seconds so far)."""
        return [] if self._active is None else [(self._active[0], time.monotonic() - self._active[1])]

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to end."""
