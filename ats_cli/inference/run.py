"""A run over slides: what computes them, what is done already, what comes and is kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ats_cli.inference.job import Engine, Job, Told
from ats_cli.records import Prediction
from ats_cli.results.run import RunFolder
from ats_cli.slides import SlideSource, parse_plane

if TYPE_CHECKING:
    from types import TracebackType

# Each process holds the nets and torch: more of them than this need to be asked for.
MOST_PROCESSES = 8


class Crew(Protocol):
    """What predicts: this process, worker processes, a cluster. `device`, `precision`: what nets compute on and in.

    `under_way`: what each worker is at, (slide id, seconds so far).
    """

    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    def predict(self, jobs: Iterable[Job], told: Told) -> Iterator[Prediction]: ...
    def under_way(self) -> list[tuple[str, float]]: ...
    def __enter__(self) -> Crew: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def shares(slides: int, processes: int | None, threads: int | None, timed: bool) -> tuple[int, int]:
    """How many worker processes there are for `slides`, 0 for none, and how many threads each has.

    A single slide needs no worker, unless its time is limited: only a process of its own can be ended. The cores are
    shared out among the workers.
    """
    cores = usable_cores()
    if processes is None:
        processes = min(slides, cores, MOST_PROCESSES) if slides > 1 else 0
    if timed:
        processes = max(processes, 1)
    processes = min(processes, max(slides, 1))
    return processes, threads or max(1, cores // max(processes, 1))


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def part(sources: Sequence[SlideSource], number: int, parts: int) -> list[SlideSource]:
    """The `number`-th (from 1) of `parts` of the slides: every `parts`-th, so that parts are alike."""
    return list(sources[number - 1 :: parts])


def start_crew(
    engine: Engine, processes: int, slide_timeout: float | None, debug: bool, cluster: str | None = None
) -> Crew:
    """Start what predicts: a Dask cluster if its address is given, else worker processes, or this process for 0.

    `slide_timeout` is in seconds.
    """
    if cluster is not None:
        from ats_cli.inference.cluster import Cluster

        return Cluster(cluster, engine, slide_timeout)
    if processes:
        from ats_cli.inference.workers import Workers

        return Workers(engine, processes, slide_timeout, debug)

    from ats_cli.inference.many import Here

    return Here(engine)


def jobs(
    sources: Iterable[SlideSource],
    settings: Mapping[str, Any],
    drawing: Mapping[str, Any],
    run: RunFolder | None,
    download: bool = False,
) -> Iterator[Job]:
    """The jobs of a run with `settings`; `drawing` are further keywords of `predict_slide`.

    `download` is one of `open_slide`, and no setting: it changes no answer.
    """
    reading = {
        "backend": settings["backend"],
        "plane": parse_plane(settings["plane"]) if settings["plane"] else None,
        "color_profile": settings["color_profile"],
        "download": download,
    }
    how = {
        "tiles": settings["tiles"],
        "sampler": settings["sampler"],
        "confidence": settings["confidence"],
        "exhaustive": settings["sampler"] == "exhaustive",
        "seed": settings["seed"],
        **drawing,
    }
    for source in sources:
        yield Job(source, reading, how, None if run is None else run.before(source.slide_id))
