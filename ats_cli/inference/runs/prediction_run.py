"""A run over slides: which are predicted, with which settings, by what, and who receives each prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import Protocol

from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.executors.executor import part, start_executor
from ats_cli.inference.executors.slide_task import OnProgress, SlideTask, regions_of, slide_tasks
from ats_cli.inference.runs.prediction_request import PredictionRequest
from ats_cli.inference.runs.run_settings import DEFAULTS, draw_options_of, open_options_of, region_options_of
from ats_cli.inference.runs.run_start import begin_run, changed_files, open_run, sentence_about_reading, sources_of_run
from ats_cli.inference.runs.signals import delayed_signals
from ats_cli.records import PixelRequest, Prediction
from ats_cli.registry import EXHAUSTIVE
from ats_cli.results.run.folder import RunFolder
from ats_cli.slides.options import OpenOptions
from ats_cli.slides.regions.region_files import roi_setting, with_regions
from ats_cli.zoo import find_model


class PredictionSink(Protocol):
    """Receives the predictions of a run, each as it finishes.

    `is_new`: it was predicted by this call, not found in the run folder.
    """

    def add(self, prediction: Prediction, is_new: bool) -> None: ...


class PredictionRun:
    """Predicts the slides of a request, and writes them to its run folder if it has one.

    A context manager: the model is loaded and the run folder is opened on entry, both end on exit.

    sources: the slides, in order. model: the model's folder. failed_outputs: slides of which an output is not written.
    `notify` is called with sentences for the user.
    """

    def __init__(self, request: PredictionRequest, notify: Callable[[str], None]) -> None:
        """Raise AtsError where the request contradicts itself, or names what does not exist."""
        self._notify = notify
        self._folder = open_run(request)
        self.sources = list(request.sources)
        settings, model, executor = {**DEFAULTS, **request.settings}, request.model, request.executor
        if self._folder is not None and request.extend:
            run = self._folder
            self.sources = sources_of_run(run, request)
            settings = {**DEFAULTS, **run.settings, **request.settings}
            model = model or run.model["folder"]
            if executor.precision == "auto":
                executor = replace(executor, precision=run.settings.get("precision", executor.precision))
        self.model = find_model(model)
        if settings["sampler"] != EXHAUSTIVE:
            settings["tiles"] = settings["tiles"] or self.model.spec.tiles
        self._region_options = region_options_of(settings)
        self.sources = with_regions(self.sources, request.roi, self._region_options)
        if request.roi is not None:
            settings["roi"] = roi_setting(request.roi)
        if request.shard is not None:
            self.sources = part(self.sources, *request.shard)
        self._request = replace(request, executor=executor.for_slides(len(self.sources)))
        self._settings = settings
        self._done: dict[str, Prediction] = {}
        self.failed_outputs = 0
        self._stack = ExitStack()

    def __enter__(self) -> PredictionRun:
        with ExitStack() as stack:
            self._executor = stack.enter_context(start_executor(self.model, self._request.executor))
            self._settings["precision"] = self._executor.precision
            if self._folder is not None:
                self._begin_folder()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _begin_folder(self) -> None:
        assert self._folder is not None
        device = self._executor.device
        self._done = begin_run(self._folder, self._request, self.sources, self._settings, self.model, device)
        if self._folder.changed:
            self._notify(changed_files(self._folder.changed))
        count = sum(source.slide_id in self._done for source in self.sources)
        if count:
            self._notify(f"{count} of {len(self.sources)} slides are in {self._request.output} already.")

    def active_slides(self) -> list[tuple[str, float]]:
        """Return the slides being predicted: (slide id, seconds so far)."""
        return self._executor.active_slides()

    def predict(self, sinks: Iterable[PredictionSink], on_progress: OnProgress, fail_fast: bool = False) -> bool:
        """Hand each prediction to the run folder, then to the sinks; return whether an interrupt ended it early.

        `fail_fast`: end after the first slide that fails.
        """
        sinks = list(sinks)
        try:
            if self._folder is not None and self._request.outputs:
                self._add_outputs(self._folder, on_progress)
            for prediction, is_new in chain(self._earlier(), self._new(on_progress)):
                with delayed_signals():  # a slide that is written is also counted and printed
                    if self._folder is not None and is_new:
                        self._folder.add(prediction)
                        if self._request.outputs and prediction.status == "ok":
                            self._write_outputs(self._folder, prediction)
                    for sink in sinks:
                        sink.add(prediction, is_new)
                if fail_fast and prediction.status == "failed":
                    break
        except KeyboardInterrupt:
            return True
        finally:
            if self._folder is not None:
                with delayed_signals():
                    self._folder.end()
        return False

    def _add_outputs(self, run: RunFolder, on_progress: OnProgress) -> None:
        """Write what slides that are done lack of the outputs asked for; pixels are read only where one needs them."""
        tasks = []
        for source in self.sources:
            lacking = run.lacking(source.slide_id) if source.slide_id in self._done else None
            if lacking is None:
                continue
            prediction, needs = lacking[0], lacking[1] - {"tiles"}
            if prediction.tile_arrays is None:
                self.failed_outputs += 1
                self._notify(f"{source.slide_id}: draw.npz is missing or damaged. Predict it again for its outputs.")
                continue
            if needs or prediction.provenance.size is None:  # records of older runs lack the slide's frame
                options = self._open_options(), self._draw_options()
                regions = regions_of(source, self._region_options)
                tasks.append(SlideTask(source, *options, None, regions, prediction, PixelRequest(needs)))
            else:
                self._write_outputs(run, prediction)
        if tasks:
            self._notify(sentence_about_reading(len(tasks), frozenset().union(*(task.pixels.needs for task in tasks))))
        for found in self._executor.predict(tasks, on_progress):
            if found.status == "failed":
                self.failed_outputs += 1
                self._notify(f"{found.error} Its outputs are not written.")
            else:
                with delayed_signals():
                    self._write_outputs(run, found)

    def _write_outputs(self, run: RunFolder, prediction: Prediction) -> None:
        """Write the optional outputs of a slide. What a writer cannot draw is counted, and the run continues.

        Raises OSError, as of a full disk.
        """
        try:
            run.add_outputs(prediction)
        except OSError:
            raise
        except Exception as error:
            self.failed_outputs += 1
            reason = " ".join(str(error).split())[:200]
            self._notify(f"{prediction.slide_id}: an output is not written: {type(error).__name__} ({reason}).")

    def _open_options(self) -> OpenOptions:
        return open_options_of(self._settings, self._request.download)

    def _draw_options(self) -> DrawOptions:
        request = self._request
        return draw_options_of(
            self._settings,
            batch_size=request.batch_size,
            threads=request.executor.threads,
            max_unreadable=request.max_unreadable,
        )

    def _earlier(self) -> Iterator[tuple[Prediction, bool]]:
        for source in self.sources:
            if source.slide_id in self._done:
                yield self._done[source.slide_id], False

    def _new(self, on_progress: OnProgress) -> Iterator[tuple[Prediction, bool]]:
        options = self._draw_options()
        remaining = [source for source in self.sources if source.slide_id not in self._done]
        tasks = slide_tasks(remaining, self._open_options(), options, self._region_options, self._folder)

        def report(slide_id: str, done: int, tiles: int) -> None:
            if options.exhaustive and done == 0:
                self._notify(f"{slide_id}: reading all {tiles} tiles.")
            on_progress(slide_id, done, tiles)

        for prediction in self._executor.predict(tasks, report):
            yield prediction, True
