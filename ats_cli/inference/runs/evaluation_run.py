"""An evaluation: labelled slides predicted at several budgets, and the figures of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ats_cli.inference.evaluate import Labelled, Rows, at_budgets, evaluation_summary
from ats_cli.inference.executors.executor import ExecutorOptions, start_executor
from ats_cli.inference.executors.slide_task import OnProgress, slide_tasks
from ats_cli.inference.runs.run_settings import DEFAULTS, draw_options_of, open_options_of, region_options_of
from ats_cli.records import MAX_UNREADABLE, Prediction
from ats_cli.results.budget_figures import BudgetFigures, Truth
from ats_cli.results.evaluation.report import Evaluation, check_writable
from ats_cli.results.groups import GroupBy
from ats_cli.slides.regions.region_files import roi_setting, with_regions
from ats_cli.zoo import ModelFolder


@dataclass(frozen=True)
class EvaluationRequest:
    """What `ats evaluate` is asked to do.

    labelled, rows: the slides with their labels, and which rows of their table they are.
    settings: those that the call names, by name. budgets: from the smallest; empty for the model's own, (None,) for all
    tiles. stops: a slide may stop before its budget is spent.
    roi: as in PredictionRequest.
    output: the folder that is written; None for none.
    """

    labelled: Sequence[Labelled]
    rows: Rows
    model: ModelFolder
    settings: Mapping[str, Any] = field(default_factory=dict)
    budgets: Sequence[int | None] = ()
    stops: bool = False
    roi: Path | None = None
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)
    max_unreadable: float = MAX_UNREADABLE
    batch_size: int | None = None
    group_by: GroupBy | None = None
    output: Path | None = None


class EvaluationRun:
    """Predicts the slides of a request at its budgets. A context manager: the model is loaded on entry.

    failed: by slide id, the sentence why. unfamiliar: ids of slides unlike those the model was trained on.
    """

    def __init__(self, request: EvaluationRequest) -> None:
        """Raise AtsError or OSError where the output cannot be written."""
        self._settings = {**DEFAULTS, **request.settings}
        self._region_options = region_options_of(self._settings)
        self._sources = with_regions([slide.source for slide in request.labelled], request.roi, self._region_options)
        if request.roi is not None:
            self._settings["roi"] = roi_setting(request.roi)
        self._request = replace(request, executor=request.executor.for_slides(len(self._sources)))
        self._budgets = request.budgets or (request.model.spec.tiles,)
        truth = {slide.source.slide_id: Truth(slide.label, slide.group) for slide in request.labelled}
        self._evaluation = Evaluation(
            truth, request.model.spec.classes, self._budgets, request.group_by, request.model.spec.task
        )
        if request.output is not None:
            check_writable(request.output)

    @property
    def predictions(self) -> int:
        """How many predictions there will be: one per slide and budget."""
        return len(self._sources) * len(self._budgets)

    @property
    def failed(self) -> Mapping[str, str]:
        return self._evaluation.failed

    @property
    def unfamiliar(self) -> set[str]:
        return self._evaluation.unfamiliar

    def __enter__(self) -> EvaluationRun:
        self._executor = start_executor(self._request.model, self._request.executor)
        self._executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.__exit__(kind, error, traceback)

    def active_slides(self) -> list[tuple[str, float]]:
        """Return the slides being predicted: (slide id, seconds so far)."""
        return self._executor.active_slides()

    def predict(self, on_progress: OnProgress) -> Iterator[Prediction]:
        """Yield each slide's prediction at each budget, and count it in the figures."""
        request = self._request
        self._settings["precision"] = self._executor.precision
        open_options = open_options_of(self._settings)

        def at_budget(budget: int | None) -> Iterator[Prediction]:
            draw_options = draw_options_of(
                {**self._settings, "tiles": budget},
                batch_size=request.batch_size,
                threads=request.executor.threads,
                max_unreadable=request.max_unreadable,
            )
            tasks = slide_tasks(self._sources, open_options, draw_options, self._region_options)
            return self._executor.predict(tasks, on_progress)

        sampler, limit = self._settings["sampler"], request.max_unreadable
        for budget, prediction in at_budgets(self._budgets, sampler, request.stops, at_budget, limit):
            self._evaluation.add(budget, prediction)
            yield prediction

    def figures(self) -> tuple[list[BudgetFigures], dict[str, Any]]:
        """Return the figures at each budget and the content of metrics.json, and write the output.

        There are none, and nothing is written, if all slides failed.
        """
        request, seed = self._request, self._settings["seed"]
        figures = self._evaluation.figures(seed)
        if not figures:
            return [], {}
        model = {"name": request.model.spec.name, "hash": request.model.hash}
        record = self._evaluation.as_dict(figures, model, self._settings, seed)
        record["rows"] = request.rows.as_dict()
        record["data"] = evaluation_summary(request.labelled, request.rows, request.model.spec.classes).as_dict()
        if request.output is not None:
            self._evaluation.write(request.output, record, figures)
        return figures, record
