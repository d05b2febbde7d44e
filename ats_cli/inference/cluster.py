"""Many machines: an existing Dask cluster predicts, one task a slide; what comes back is written here.

Each worker of the cluster hands its slides to a process of its own, so that a slide that crashes or hangs costs
itself and not the worker. Slides and model must lie at the same paths on all machines.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing import current_process
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ats_cli.inference.job import Engine, Job, Told, failed
from ats_cli.inference.workers import Workers
from ats_cli.records import AtsError, Prediction

if TYPE_CHECKING:
    from distributed import Client, Future

# What a slide may die of that has to do with the machine it was on: such a one is tried on another, once.
WORTH_ANOTHER_MACHINE = ("crashed", "memory", "timed out")
# Tasks that wait at the cluster for each thread there: its workers are never idle, and the queue stays short.
AHEAD = 2

_here = threading.local()


class Cluster:
    """The workers of a Dask scheduler at `address`, like tcp://host:8786. AtsError where there are none."""

    def __init__(self, address: str, engine: Engine, slide_timeout: float | None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise AtsError("--cluster needs Dask. Install it: pip install 'ats-cli[cluster]'.") from None
        try:
            self._client: Client = Client(address, timeout=30)
        except (OSError, ValueError) as error:
            raise AtsError(f"--cluster {address}: no Dask scheduler answers there ({error}). Start one.") from error
        self._slide_timeout = slide_timeout
        self._resources = {"GPU": 1} if engine.device.startswith("cuda") else None
        if not self._threads():
            raise AtsError(f"--cluster {address}: the scheduler has no workers. Start some: dask worker {address}")
        nets = self._submit(_nets, engine).result()
        if isinstance(nets, AtsError):
            raise nets
        self.device, self.precision = nets
        # What "auto" came to on one machine is what all of them compute in.
        self._engine = replace(engine, precision=self.precision)

    def predict(self, jobs: Iterable[Job], told: Told) -> Iterator[Prediction]:
        """Yield one Prediction a job, each as it finishes."""
        from distributed import as_completed

        queue = iter(jobs)
        at: dict[Future, tuple[Job, bool]] = {}  # the job, and whether it was tried before
        done = as_completed()
        while True:
            while len(at) < AHEAD * self._threads() + 1 and (job := next(queue, None)) is not None:
                future = self._submit(_predict, self._engine, job, self._slide_timeout)
                at[future] = job, False
                done.add(future)
            if not at:
                return
            future = next(done)
            job, again = at.pop(future)
            try:
                where, prediction = future.result()
            except Exception as error:  # the worker is gone, or cannot run the task at all
                reason = " ".join(str(error).split())[:200]
                sentence = f"{job.source.path.name}: the cluster lost it ({type(error).__name__}: {reason})."
                where, prediction = "", failed(job.source, self._engine.model, sentence, "crashed")
            others = [worker for worker in self._client.scheduler_info(n_workers=-1)["workers"] if worker != where]
            if prediction.failure in WORTH_ANOTHER_MACHINE and not again and others:
                future = self._submit(_predict, self._engine, job, self._slide_timeout, workers=others)
                at[future] = job, True
                done.add(future)
            else:
                yield prediction

    def under_way(self) -> list[tuple[str, float]]:
        """Nothing: which of the slides that were handed out its workers are at, the scheduler's own page shows."""
        return []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()  # and what is still queued there is dropped

    def _threads(self) -> int:
        return sum(self._client.nthreads().values())

    def _submit(self, function: Any, *arguments: Any, workers: list[str] | None = None) -> Future:
        return self._client.submit(
            function, *arguments, pure=False, retries=1, resources=self._resources, workers=workers
        )


def _nets(engine: Engine) -> tuple[str, str] | AtsError:
    """On a worker: what its nets compute on and in."""
    try:
        process = _process(engine, None)
        return process.device, process.precision
    except AtsError as error:
        return error


def _predict(engine: Engine, job: Job, slide_timeout: float | None) -> tuple[str, Prediction]:
    """On a worker: its address, and the prediction by the process beside it."""
    from distributed import get_worker

    (prediction,) = _process(engine, slide_timeout).predict([job], lambda *_: None)
    return get_worker().address, prediction


def _process(engine: Engine, slide_timeout: float | None) -> Workers:
    """The process beside this thread of a worker, kept from slide to slide of a run."""
    if getattr(_here, "made_for", None) != (engine, slide_timeout):
        if hasattr(_here, "process"):
            _here.process.close()
        # Dask's workers are daemons themselves, and those may not have children; they end with their parent anyhow.
        current_process().daemon = False
        _here.process, _here.made_for = Workers(engine, 1, slide_timeout), (engine, slide_timeout)
    process: Workers = _here.process
    return process
