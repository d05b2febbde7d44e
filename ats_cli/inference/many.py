"""Many slides -> a stream of Predictions, in this process. A bad slide is a record among the others, never the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ats_cli.inference.job import Engine, Job, Told
from ats_cli.inference.one import predict_one, start_engine
from ats_cli.records import Prediction
from ats_cli.slides import SlideSource
from ats_cli.zoo import LoadedModel


def predict_many(
    sources: Sequence[SlideSource],
    model: LoadedModel,
    *,
    backend: str | None = None,
    plane: Any = None,
    color_profile: str = "none",
    download: bool = False,
    **drawing: Any,
) -> Iterator[Prediction]:
    """Yield one Prediction a slide, in order, each as it finishes.

    `backend`, `plane`, `color_profile` and `download` are for `open_slide`; `drawing` are the keywords of
    `predict_slide`.
    """
    reading = {"backend": backend, "plane": plane, "color_profile": color_profile, "download": download}
    for source in sources:
        yield predict_one(Job(source, reading, drawing), model)


class Here:
    """Predicts in this process: for a single slide. A reader that crashes ends the run."""

    def __init__(self, engine: Engine) -> None:
        self._model = start_engine(engine)
        self.device, self.precision = str(self._model.device), self._model.precision
        self._at: tuple[str, float] | None = None

    def predict(self, jobs: Iterable[Job], told: Told) -> Iterator[Prediction]:
        """Yield one Prediction a job, in order."""
        for job in jobs:
            self._at = job.source.slide_id, time.monotonic()
            yield predict_one(job, self._model, told)

    def under_way(self) -> list[tuple[str, float]]:
        """What it is at: (slide id, seconds so far)."""
        return [] if self._at is None else [(self._at[0], time.monotonic() - self._at[1])]

    def __enter__(self) -> Here:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to end."""
