"""Predict on the workers of an existing Dask cluster, one task per slide; results are written on this machine.

Each Dask worker predicts in a process of its own, so a slide that crashes or hangs does not end the worker. Slides and
model must have the same paths on all machines.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing import current_process
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ats_cli.errors import AtsError
from ats_cli.inference.executors.slide_task import ModelConfig, OnProgress, SlideTask, failed
from ats_cli.inference.executors.worker_pool import WorkerPool
from ats_cli.records import Prediction

if TYPE_CHECKING:
    from distributed import Client, Future

# Failures that may be due to the machine: such a slide is tried once on another.
RETRIED_ELSEWHERE = ("crashed", "memory", "timed out")
# Tasks submitted per thread of the cluster: its workers are never idle, and the queue stays short.
TASKS_PER_THREAD = 2

_thread = threading.local()


class Cluster:
    """The workers of the Dask scheduler at `address`, like tcp://host:8786. AtsError if there are none."""

    def __init__(self, address: str, config: ModelConfig, slide_timeout: float | None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise AtsError("--cluster needs Dask. Install it: pip install 'ats-cli[cluster]'.") from None
        try:
            self._client: Client = Client(address, timeout=30)
        except (OSError, ValueError) as error:
            raise AtsError(f"--cluster {address}: no Dask scheduler answers there ({error}). Start one.") from error
        self._slide_timeout = slide_timeout
        self._resources = {"GPU": 1} if config.device.startswith("cuda") else None
        if not self._threads():
            raise AtsError(f"--cluster {address}: the scheduler has no workers. Start some: dask worker {address}")
        ready = self._submit(_load, config).result()
        if isinstance(ready, AtsError):
            raise ready
        self.device, self.precision = ready
        # "auto" is resolved on one machine, so that all compute in the same precision.
        self._config = replace(config, precision=self.precision)

    def predict(self, tasks: Iterable[SlideTask], on_progress: OnProgress) -> Iterator[Prediction]:
        """Yield one Prediction per task, each as it finishes."""
        from distributed import as_completed

        queue = iter(tasks)
        submitted: dict[Future, tuple[SlideTask, bool]] = {}  # the task, and whether it is a retry
        done = as_completed()
        while True:
            while len(submitted) < TASKS_PER_THREAD * self._threads() + 1 and (task := next(queue, None)) is not None:
                future = self._submit(_predict, self._config, task, self._slide_timeout)
                submitted[future] = task, False
                done.add(future)
            if not submitted:
                return
            future = next(done)
            task, is_retry = submitted.pop(future)
            try:
                address, prediction = future.result()
            except Exception as error:  # the worker has ended, or cannot run the task
                reason = " ".join(str(error).split())[:200]
                sentence = f"{task.source.path.name}: the cluster lost it ({type(error).__name__}: {reason})."
                address, prediction = "", failed(task.source, self._config.model, sentence, "crashed")
            others = [worker for worker in self._client.scheduler_info(n_workers=-1)["workers"] if worker != address]
            if prediction.failure in RETRIED_ELSEWHERE and not is_retry and others:
                future = self._submit(_predict, self._config, task, self._slide_timeout, workers=others)
                submitted[future] = task, True
                done.add(future)
            else:
                yield prediction

    def active_slides(self) -> list[tuple[str, float]]:
        """Return nothing: the dashboard of the scheduler shows what its workers predict."""
        return []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()  # tasks that are still queued are dropped

    def _threads(self) -> int:
        return sum(self._client.nthreads().values())

    def _submit(self, function: Any, *arguments: Any, workers: list[str] | None = None) -> Future:
        return self._client.submit(
            function, *arguments, pure=False, retries=1, resources=self._resources, workers=workers
        )


def _load(config: ModelConfig) -> tuple[str, str] | AtsError:
    """On a worker: load the model; return its device and precision."""
    try:
        process = _process(config, None)
        return process.device, process.precision
    except AtsError as error:
        return error


def _predict(config: ModelConfig, task: SlideTask, slide_timeout: float | None) -> tuple[str, Prediction]:
    """On a worker: return its address, and the prediction by its process."""
    from distributed import get_worker

    (prediction,) = _process(config, slide_timeout).predict([task], lambda *_: None)
    return get_worker().address, prediction


def _process(config: ModelConfig, slide_timeout: float | None) -> WorkerPool:
    """Return the process of this thread of a worker, started once for all slides of a run."""
    if getattr(_thread, "made_for", None) != (config, slide_timeout):
        if hasattr(_thread, "process"):
            _thread.process.close()
        # Dask's workers are daemons, which may not have children; ours end with their parent in any case.
        current_process().daemon = False
        _thread.process, _thread.made_for = WorkerPool(config, 1, slide_timeout), (config, slide_timeout)
    process: WorkerPool = _thread.process
    return process
