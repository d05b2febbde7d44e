"""What predicts the slides of a run: the protocol of executors, and how one is chosen and started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ats_cli.inference.draw_options import DrawOptions
from ats_cli.inference.job import ModelConfig, OnProgress, SlideTask
from ats_cli.records import Prediction
from ats_cli.results.run import RunFolder
from ats_cli.slides import SlideSource

if TYPE_CHECKING:
    from types import TracebackType

MAX_PROCESSES = 8  # started without being asked for: each process holds torch and the model


class Executor(Protocol):
    """Predicts slides: in this process, in worker processes, on a cluster.

    `device`, `precision`: what the model computes on and in. `active_slides`: those being predicted, (slide id, seconds
    so far).
    """

    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    def predict(self, tasks: Iterable[SlideTask], on_progress: OnProgress) -> Iterator[Prediction]: ...
    def active_slides(self) -> list[tuple[str, float]]: ...
    def __enter__(self) -> Executor: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def start_executor(
    config: ModelConfig, processes: int, slide_timeout: float | None, debug: bool, cluster: str | None = None
) -> Executor:
    """Start an executor: a Dask cluster if its address is given, else worker processes, or this process for 0.

    `slide_timeout` is in seconds.
    """
    if cluster is not None:
        from ats_cli.inference.cluster import Cluster

        return Cluster(cluster, config, slide_timeout)
    if processes:
        from ats_cli.inference.workers import WorkerPool

        return WorkerPool(config, processes, slide_timeout, debug)

    from ats_cli.inference.many import InProcess

    return InProcess(config)


def processes_and_threads(slides: int, processes: int | None, threads: int | None, timed: bool) -> tuple[int, int]:
    """Return the number of worker processes for `slides`, 0 for none, and of threads in each.

    A single slide needs no worker, unless its time is limited: only a separate process can be ended. The cores are
    divided among the workers.
    """
    cores = usable_cores()
    if processes is None:
        processes = min(slides, cores, MAX_PROCESSES) if slides > 1 else 0
    if timed:
        processes = max(processes, 1)
    processes = min(processes, max(slides, 1))
    return processes, threads or max(1, cores // max(processes, 1))


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def part(sources: Sequence[SlideSource], number: int, parts: int) -> list[SlideSource]:
    """Return the `number`-th (from 1) of `parts` of the slides: every `parts`-th slide, so that parts are alike."""
    return list(sources[number - 1 :: parts])


def slide_tasks(
    sources: Iterable[SlideSource],
    open_options: Mapping[str, Any],
    draw_options: DrawOptions,
    run: RunFolder | None = None,
) -> Iterator[SlideTask]:
    """Yield a task per slide. `run`: where the tiles of shorter races are, which are not read again."""
    for source in sources:
        yield SlideTask(source, open_options, draw_options, None if run is None else run.before(source.slide_id))
