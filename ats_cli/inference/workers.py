"""Worker processes: a slide that crashes its process, or hangs, costs itself only.

Each worker has a pipe of its own. There is no queue and no lock between them that a dying one could hold, so that
whatever happens to one, its neighbours do not notice.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType

from ats_cli.inference.job import Engine, Job, Told, failed
from ats_cli.inference.worker import Progress, Ready, work
from ats_cli.records import AtsError, Failure, Prediction

# Seconds for one slide: generous, so that only a reader that hangs comes to it.
SLIDE_TIMEOUT = 3600.0
# Workers that may die one after the other before one of them gets to work.
STILLBORN = 3


@dataclass
class _Worker:
    """`job`: the slide it is at, since `since` (monotonic seconds)."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    job: Job | None = None
    since: float = 0.0


class Workers:
    """A number of processes that predict slides. A context manager: they end with it."""

    def __init__(self, engine: Engine, processes: int, slide_timeout: float | None = None, debug: bool = False) -> None:
        self._engine, self._slide_timeout, self._debug = engine, slide_timeout, debug
        self._stillborn = 0
        self._nets: Ready | None = None
        self._told: Told | None = None
        self._workers = [self._start() for _ in range(processes)]

    @property
    def device(self) -> str:
        """What the nets compute on, known once a worker has them. AtsError where they cannot be had."""
        return self._wait_for_nets().device

    @property
    def precision(self) -> str:
        """What the feature net computes in; as `device`."""
        return self._wait_for_nets().precision

    def _wait_for_nets(self) -> Ready:
        while self._nets is None:
            for _ in self._replies():
                raise AssertionError("a worker answers before it is asked")
        return self._nets

    def predict(self, jobs: Iterable[Job], told: Told) -> Iterator[Prediction]:
        """Yield one Prediction a job, each as it finishes."""
        self._told = told
        queue = iter(jobs)
        more = True
        while True:
            for worker in self._workers:
                if more and worker.ready and worker.job is None:
                    job = next(queue, None)
                    more = job is not None
                    if job is not None:
                        worker.job, worker.since = job, time.monotonic()
                        with suppress(OSError):  # it has just died: its pipe says so below
                            worker.pipe.send(job)
            if not more and not self.under_way():
                return
            yield from self._replies()

    def under_way(self) -> list[tuple[str, float]]:
        """What each worker is at: (slide id, seconds so far)."""
        now = time.monotonic()
        return [(w.job.source.slide_id, now - w.since) for w in self._workers if w.job is not None]

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> _Worker:
        # Spawned, never forked: threads and open handles do not survive a fork.
        spawn = get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=work, args=(theirs, self._engine, self._debug), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends with the process
        return _Worker(process, ours)

    def _replies(self) -> Iterator[Prediction]:
        """What has been heard of since the last call, or is within a second; the dead and the late are replaced."""
        wait([worker.pipe for worker in self._workers], timeout=1)
        for place, worker in enumerate(self._workers):
            try:
                message = worker.pipe.recv() if worker.pipe.poll() else None
            except (EOFError, OSError):
                yield from self._replace(place, worker)
                continue
            if message is not None:
                yield from self._take(worker, message)
            elif worker.job is not None and time.monotonic() - worker.since > self._limit(worker.job):
                worker.process.kill()
                yield from self._replace(place, worker, late=True)

    def _limit(self, job: Job) -> float:
        """The most seconds for a job."""
        return self._slide_timeout or (math.inf if job.drawing.get("exhaustive") else SLIDE_TIMEOUT)

    def _replace(self, place: int, worker: _Worker, late: bool = False) -> Iterator[Prediction]:
        """Put a new worker in the place of one that is dead, and say what became of its slide."""
        worker.process.join()
        worker.pipe.close()
        self._workers[place] = self._start()
        if worker.job is not None:
            source = worker.job.source
            kind, why = _death(worker.process.exitcode)
            if late:
                kind, why = "timed out", f"took more than {self._limit(worker.job):g} s and was stopped. {_LATE}"
            yield failed(source, self._engine.model, f"{source.path.name}: {why}", kind)
        elif not worker.ready:
            self._count_stillborn(worker.process.exitcode)

    def _take(self, worker: _Worker, message: Ready | Progress | AtsError | Prediction) -> Iterator[Prediction]:
        if isinstance(message, AtsError):
            raise message
        if isinstance(message, Progress):
            if self._told is not None:
                self._told(message.slide_id, message.done, message.tiles)
        elif isinstance(message, Ready):
            worker.ready, self._nets, self._stillborn = True, message, 0
        else:
            worker.job = None
            yield message

    def _count_stillborn(self, exitcode: int | None) -> None:
        self._stillborn += 1
        if self._stillborn == STILLBORN:
            raise AtsError(
                f"worker processes end before they begin ({_ended(exitcode)}). Use fewer --processes if memory is "
                "short; --debug shows what they say, --processes 0 does without them."
            )


_LATE = "Give more --slide-timeout, or find out with `ats info` what is wrong with the file."


def _death(exitcode: int | None) -> tuple[Failure, str]:
    if exitcode == -9:
        why = "its process was killed, as a rule because memory ran out. Use fewer --processes or --threads."
        return "memory", why
    why = f"crashed the process that read it ({_ended(exitcode)}). The file may be damaged: try another --backend."
    return "crashed", why


def _ended(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        with suppress(ValueError):
            return signal.Signals(-exitcode).name
    return f"exit status {exitcode}"
