"""Worker processes: a slide that crashes its process, or hangs, fails alone.

Each worker has its own pipe. Workers share no queue and no lock that a dying process could hold, so the failure of one
does not affect the others.
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

from ats_cli.errors import AtsError, Failure
from ats_cli.inference.executors.slide_task import ModelConfig, OnProgress, SlideTask, failed
from ats_cli.inference.executors.worker import Ready, TaskProgress, work
from ats_cli.records import Prediction

# Seconds for one slide: generous, so that only a reader that hangs reaches it.
SLIDE_TIMEOUT = 3600.0
# Workers that may end before they are ready, one after the other, before the pool gives up.
MAX_FAILED_STARTS = 3


@dataclass
class _Worker:
    """`task`: the slide being predicted, since `since` (monotonic seconds)."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    task: SlideTask | None = None
    since: float = 0.0


class WorkerPool:
    """Processes that predict slides. A context manager: the processes end with it."""

    def __init__(
        self, config: ModelConfig, processes: int, slide_timeout: float | None = None, debug: bool = False
    ) -> None:
        self._config, self._slide_timeout, self._debug = config, slide_timeout, debug
        self._failed_starts = 0
        self._ready: Ready | None = None
        self._on_progress: OnProgress | None = None
        self._workers = [self._start() for _ in range(processes)]

    @property
    def device(self) -> str:
        """The device of the model, known once a worker has loaded it. AtsError if it cannot be loaded."""
        return self._wait_until_ready().device

    @property
    def precision(self) -> str:
        """The precision of the feature network; as `device`."""
        return self._wait_until_ready().precision

    def _wait_until_ready(self) -> Ready:
        while self._ready is None:
            for _ in self._messages():
                raise AssertionError("a worker sent a prediction before it had a task")
        return self._ready

    def predict(self, tasks: Iterable[SlideTask], on_progress: OnProgress) -> Iterator[Prediction]:
        """Yield one Prediction per task, each as it finishes."""
        self._on_progress = on_progress
        queue = iter(tasks)
        more = True
        while True:
            for worker in self._workers:
                if more and worker.ready and worker.task is None:
                    task = next(queue, None)
                    more = task is not None
                    if task is not None:
                        worker.task, worker.since = task, time.monotonic()
                        with suppress(OSError):  # the worker has just died: its pipe reports that below
                            worker.pipe.send(task)
            if not more and not self.active_slides():
                return
            yield from self._messages()

    def active_slides(self) -> list[tuple[str, float]]:
        """Return the slide of each worker: (slide id, seconds so far)."""
        now = time.monotonic()
        return [(w.task.source.slide_id, now - w.since) for w in self._workers if w.task is not None]

    def close(self) -> None:
        """End the processes at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> _Worker:
        # Spawned, never forked: threads and open handles do not survive a fork.
        spawn = get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=work, args=(theirs, self._config, self._debug), daemon=True)
        process.start()
        theirs.close()  # the pipe then closes when the process ends
        return _Worker(process, ours)

    def _messages(self) -> Iterator[Prediction]:
        """Yield the predictions received within a second. Workers that died or took too long are replaced."""
        wait([worker.pipe for worker in self._workers], timeout=1)
        for index, worker in enumerate(self._workers):
            try:
                message = worker.pipe.recv() if worker.pipe.poll() else None
            except (EOFError, OSError):
                yield from self._replace(index, worker)
                continue
            if message is not None:
                yield from self._take(worker, message)
            elif worker.task is not None and time.monotonic() - worker.since > self._limit(worker.task):
                worker.process.kill()
                yield from self._replace(index, worker, late=True)

    def _limit(self, task: SlideTask) -> float:
        """Return the time limit of a task, in seconds."""
        return self._slide_timeout or (math.inf if task.draw_options.exhaustive else SLIDE_TIMEOUT)

    def _replace(self, index: int, worker: _Worker, late: bool = False) -> Iterator[Prediction]:
        """Start a new worker in place of one that ended; yield the record of the slide it predicted, if any."""
        worker.process.join()
        worker.pipe.close()
        self._workers[index] = self._start()
        if worker.task is not None:
            source = worker.task.source
            kind, why = _death(worker.process.exitcode)
            if late:
                kind, why = "timed out", f"took more than {self._limit(worker.task):g} s and was stopped. {_LATE}"
            yield failed(source, self._config.model, f"{source.path.name}: {why}", kind)
        elif not worker.ready:
            self._count_failed_start(worker.process.exitcode)

    def _take(self, worker: _Worker, message: Ready | TaskProgress | AtsError | Prediction) -> Iterator[Prediction]:
        if isinstance(message, AtsError):
            raise message
        if isinstance(message, TaskProgress):
            if self._on_progress is not None:
                self._on_progress(message.slide_id, message.done, message.tiles)
        elif isinstance(message, Ready):
            worker.ready, self._ready, self._failed_starts = True, message, 0
        else:
            worker.task = None
            yield message

    def _count_failed_start(self, exitcode: int | None) -> None:
        self._failed_starts += 1
        if self._failed_starts == MAX_FAILED_STARTS:
            raise AtsError(
                f"worker processes end before they begin ({_ended(exitcode)}). Use fewer --processes if memory is "
                "short; --debug shows what they say, --processes 0 does without them."
            )


_LATE = "Give more --slide-timeout, or find out with `ats info` what is wrong with the file."


def _death(exitcode: int | None) -> tuple[Failure, str]:
    if exitcode == -9:
        why = "its process was killed, usually because memory ran out. Use fewer --processes or --threads."
        return "memory", why
    why = f"crashed the process that read it ({_ended(exitcode)}). The file may be damaged: try another --backend."
    return "crashed", why


def _ended(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        with suppress(ValueError):
            return signal.Signals(-exitcode).name
    return f"exit status {exitcode}"
