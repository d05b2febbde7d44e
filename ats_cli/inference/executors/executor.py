"""What predicts the slides of a run: the protocol of executors, and how one is chosen and started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ats_cli.inference.executors.slide_task import ModelConfig, OnProgress, SlideTask
from ats_cli.records import Prediction
from ats_cli.slides import SlideSource
from ats_cli.zoo import ModelFolder

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


@dataclass(frozen=True)
class ExecutorOptions:
    """How a run is computed.

    device, precision: as in `ModelConfig`.
    processes: worker processes, 0 for none. threads: in each process. None for what suits the slides and the machine.
    slide_timeout: time limit of a slide, in seconds; None for that of the executor.
    debug: whether what worker processes print is shown.
    cluster: the address of a Dask scheduler, whose workers predict instead of this machine.
    """

    device: str = "auto"
    precision: str = "auto"
    processes: int | None = None
    threads: int | None = None
    slide_timeout: float | None = None
    debug: bool = False
    cluster: str | None = None

    def for_slides(self, slides: int) -> ExecutorOptions:
        """Return the options with the number of processes, 0 for none, and of threads in each.

        A single slide needs no worker, unless its time is limited: only a separate process can be ended. The cores are
        divided among the workers.
        """
        cores, processes = usable_cores(), self.processes
        if processes is None:
            processes = min(slides, cores, MAX_PROCESSES) if slides > 1 else 0
        if self.slide_timeout is not None:
            processes = max(processes, 1)
        processes = min(processes, max(slides, 1))
        return replace(self, processes=processes, threads=self.threads or max(1, cores // max(processes, 1)))


def start_executor(model: ModelFolder, options: ExecutorOptions) -> Executor:
    """Start an executor: a Dask cluster if its address is given, else worker processes, or this process for 0."""
    config = ModelConfig(model, options.device, options.precision)
    if options.cluster is not None:
        from ats_cli.inference.executors.cluster import Cluster

        return Cluster(options.cluster, config, options.slide_timeout)
    if options.processes:
        from ats_cli.inference.executors.worker_pool import WorkerPool

        return WorkerPool(config, options.processes, options.slide_timeout, options.debug)

    from ats_cli.inference.executors.in_process import InProcess

    return InProcess(config)


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def part(sources: Sequence[SlideSource], number: int, parts: int) -> list[SlideSource]:
    """Return the `number`-th (from 1) of `parts` of the slides: every `parts`-th slide, so that parts are alike."""
    return list(sources[number - 1 :: parts])
