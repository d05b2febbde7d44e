"""Predict on the workers of an existing Dask cluster, one task per slide; results are written on this machine.

Each Dask worker predicts in a process of its own, so a slide that crashes or hangs does not end the worker. Slides and
model must have the same absolute paths on all machines. A worker gets slides once it is known to be the same program.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import current_process
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ats_cli.errors import AtsError
from ats_cli.inference.executors.slide_task import ModelConfig, OnProgress, SlideTask, failed
from ats_cli.inference.executors.worker_pool import WorkerPool
from ats_cli.inference.executors.worker_program import difference, program, versions
from ats_cli.records import Prediction
from ats_cli.slides.identity.fingerprint import fingerprint

if TYPE_CHECKING:
    from distributed import Client, Future

_log = logging.getLogger(__name__)

# Failures that may be due to the machine: such a slide is tried once on another.
RETRIED_ELSEWHERE = ("crashed", "memory", "timed out")
# Tasks submitted per thread of the cluster: its workers are never idle, and the queue stays short.
TASKS_PER_THREAD = 2
# Seconds after which workers that came or went are noticed, if no slide is finished.
WAIT_SECONDS = 5

_thread = threading.local()


@dataclass(frozen=True)
class _Submitted:
    """A slide on the cluster: the workers that may predict it, and those that have tried."""

    task: SlideTask
    workers: tuple[str, ...]
    tried: tuple[str, ...] = ()


class Cluster:
    """The workers of the Dask scheduler at `address`, like tcp://host:8786.

    A worker of another program than this one gets no slide, and a warning names it. AtsError if no worker is left.
    """

    def __init__(self, address: str, config: ModelConfig, slide_timeout: float | None) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise AtsError("--cluster needs Dask. Install it: pip install 'ats-cli[cluster]'.") from None
        try:
            self._client: Client = Client(address, timeout=30)
        except (OSError, ValueError) as error:
            raise AtsError(f"--cluster {address}: no Dask scheduler answers there ({error}). Start one.") from error
        self._config, self._slide_timeout = config, slide_timeout
        self._resources = {"GPU": 1} if config.device.startswith("cuda") else None
        self._versions = versions()
        self._refused: dict[tuple[str, str], str | None] = {}
        try:
            self.device, self.precision = self._ready(address)
        except BaseException:
            self._client.close()
            raise
        # "auto" is resolved on one machine, so that all compute in the same precision.
        self._config = replace(config, precision=self.precision)

    def predict(self, tasks: Iterable[SlideTask], on_progress: OnProgress) -> Iterator[Prediction]:
        """Yield one Prediction per task, each as it finishes."""
        queue = iter(tasks)
        following = next(queue, None)
        submitted: dict[Future, _Submitted] = {}
        while submitted or following is not None:
            workers = self._workers()
            most = TASKS_PER_THREAD * sum(workers.values()) + 1
            while workers and following is not None and len(submitted) < most:
                self._send(submitted, _Submitted(following, tuple(workers)))
                following = next(queue, None)
            for future in self._finished(submitted):
                of = submitted.pop(future)
                worker, prediction = self._answer(future, of)
                others = tuple(set(self._workers()) - {worker, *of.tried})
                missing, again = prediction.failure == "missing", prediction.failure in RETRIED_ELSEWHERE
                if others and (missing or (again and not of.tried)):
                    self._send(submitted, _Submitted(of.task, others, (*of.tried, worker)))
                else:
                    yield prediction
            for future in [f for f, of in submitted.items() if workers and not set(of.workers) & set(workers)]:
                of = submitted.pop(future)  # all workers that it could go to have left
                future.cancel()
                self._send(submitted, replace(of, workers=tuple(workers)))

    def active_slides(self) -> list[tuple[str, float]]:
        """Return nothing: the dashboard of the scheduler shows what its workers predict."""
        return []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()  # tasks that are still queued are dropped

    def _ready(self, address: str) -> tuple[str, str]:
        """Load the model on a worker; return its device and precision. AtsError if no worker can."""
        workers = self._workers()
        refused = next((sentence for sentence in self._refused.values() if sentence), None)
        if not workers and refused is not None:
            raise AtsError(f"--cluster {address}: {refused} Start workers with the ats, torch and model of this call.")
        if not workers:
            raise AtsError(f"--cluster {address}: the scheduler has no workers. Start some: dask worker {address}")
        ready: tuple[str, str] | AtsError = self._submit(_load, list(workers), self._config).result()
        if isinstance(ready, AtsError):
            raise ready
        return ready

    def _workers(self) -> dict[str, int]:
        """Return the threads of the workers that are the same program, by address; new ones are asked first."""
        present = self._client.scheduler_info(n_workers=-1)["workers"]
        # A worker that was started again at the same address has another folder.
        keys = {address: (address, str(facts.get("local_directory"))) for address, facts in present.items()}
        new = [address for address, key in keys.items() if key not in self._refused]
        if new:
            stated = self._client.run(program, self._config.model.path, workers=new, on_error="return")
            for address in new:
                facts = stated.get(address)
                if facts is None or isinstance(facts, OSError):  # it has left, or cannot be reached
                    continue
                differs = difference(facts, self._versions, self._config.model)
                host = facts["host"] if isinstance(facts, dict) else present[address]["host"]
                sentence = None if differs is None else f"worker {address} on {host} {differs}. It gets no slide."
                self._refused[keys[address]] = sentence
                if sentence is not None:
                    _log.warning(sentence)
        suitable = [address for address, key in keys.items() if key in self._refused and self._refused[key] is None]
        return {address: present[address]["nthreads"] for address in suitable}

    def _send(self, submitted: dict[Future, _Submitted], of: _Submitted) -> None:
        future = self._submit(_predict, of.workers, self._config, of.task, self._slide_timeout)
        submitted[future] = of

    def _submit(self, function: Any, workers: Sequence[str], *arguments: Any) -> Future:
        return self._client.submit(
            function, *arguments, pure=False, retries=1, resources=self._resources, workers=list(workers)
        )

    def _finished(self, submitted: Iterable[Future]) -> list[Future]:
        """Return the tasks that are finished; wait for one, but not longer than WAIT_SECONDS."""
        from distributed import TimeoutError, wait

        futures = list(submitted)
        if not futures:  # no worker is left
            time.sleep(WAIT_SECONDS)
        try:
            return list(wait(futures, timeout=WAIT_SECONDS, return_when="FIRST_COMPLETED").done) if futures else []
        except TimeoutError:
            return []

    def _answer(self, future: Future, of: _Submitted) -> tuple[str, Prediction]:
        """Return the address of the worker, "" where it is not known, and the prediction."""
        source = of.task.source
        worker: str
        prediction: Prediction
        try:
            worker, prediction = future.result()
        except Exception as error:  # the worker has ended, or cannot run the task
            reason = " ".join(str(error).split())[:200]
            sentence = f"{source.path.name}: the cluster lost it ({type(error).__name__}: {reason})."
            return "", failed(source, self._config.model, sentence, "crashed")
        here = fingerprint(source.path) if isinstance(source.path, Path) else None
        there = prediction.provenance.fingerprint
        if here is not None and there is not None and here.content != there.content:
            sentence = (
                f"{source.path.name}: worker {worker} has another file at {source.path}. Give all machines the same "
                "file, then make the same call again."
            )
            return worker, failed(source, self._config.model, sentence, "missing")
        return worker, prediction


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

    address, path = get_worker().address, task.source.path
    try:
        if isinstance(path, Path):
            path.stat()
    except OSError as error:
        sentence = (
            f"{path.name}: worker {address} on {socket.gethostname()} cannot see {path} ({error.strerror}). Make it "
            "visible there, then make the same call again."
        )
        return address, failed(task.source, config.model, sentence, "missing")
    (prediction,) = _process(config, slide_timeout).predict([task], lambda *_: None)
    return address, prediction


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
