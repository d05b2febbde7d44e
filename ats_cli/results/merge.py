"""Run folders joined into one: the parts of a job array."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ats_cli.records import AtsError
from ats_cli.results.run import RunFolder
from ats_cli.results.run_file import RunSlide
from ats_cli.results.same_run import differences


class Merged(NamedTuple):
    """How many slides came together, and how many of them have not been predicted."""

    slides: int
    missing: int


def merge_runs(paths: Sequence[Path], output: Path, facts: Mapping[str, Any], *, overwrite: bool = False) -> Merged:
    """Copy the slides of the runs at `paths` into a new run; `facts` are added to its run.json.

    Runs that are all the parts of one whole (`--shard`) come in its order, others one after the other. AtsError,
    before anything is written, where one is no run, models or settings differ, a slide is in two, or a run lies in
    `output` already and is not to be overwritten.
    """
    runs = [RunFolder(path) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        if not run.exists:
            raise AtsError(f"{path}: no run here. Give folders that `ats predict -o` wrote.")
        if path.resolve() == output.resolve():
            raise AtsError(f"{path}: is to be read and written. Give -o another folder.")
        _refuse_other(runs[0], run)
    into = RunFolder(output)
    if into.exists and not overwrite:
        raise AtsError(f"{output}: holds a run already. Give -o another folder, or --overwrite.")
    slides = _in_order(runs)
    classes = next((classes for run in runs if (classes := run.classes())), ())
    facts = {**facts, "device": ", ".join(dict.fromkeys(run.device for run in runs)), "shard": None}
    facts["merged"] = [str(path) for path in paths]
    task = next((task for run in runs if (task := run.task()) != "multi-class"), "multi-class")
    first, of_all = runs[0], [slide for slide, _ in slides]
    into.begin(
        of_all, first.settings, first.model, classes, facts, task=task, group_by=first.group_by, overwrite=overwrite
    )
    try:
        taken = sum(into.take(run, slide.slide_id) for slide, run in slides)
    finally:
        into.end()
    return Merged(len(slides), len(slides) - taken)


def _refuse_other(first: RunFolder, run: RunFolder) -> None:
    differ = differences((first.settings, first.model), run.settings, run.model)
    if differ:
        raise AtsError(f"{run.path}: is not of one kind with {first.path}, which has {'; '.join(differ)}.")
    if run.group_by != first.group_by:
        raise AtsError(
            f"{run.path}: is grouped by {_grouping(run)}, {first.path} by {_grouping(first)}. Give all of them the "
            "same --group-by: of a run that is done, no slide is read again."
        )


def _grouping(run: RunFolder) -> str:
    return "nothing" if run.group_by is None else f"{run.group_by.column} ({run.group_by.weights} weights)"


def _in_order(runs: Sequence[RunFolder]) -> list[tuple[RunSlide, RunFolder]]:
    """All slides, each with its run. AtsError for one that is in two."""
    parts = sorted(runs, key=lambda run: run.shard or (0, 0))
    whole = [run.shard for run in parts] == [(i + 1, len(parts)) for i in range(len(parts))]
    lists = [[(slide, run) for slide in run.slides.values()] for run in (parts if whole else runs)]
    if whole:  # every n-th slide was in a part
        rounds = itertools.zip_longest(*lists)
        slides = [one for some in rounds for one in some if one is not None]
    else:
        slides = list(itertools.chain.from_iterable(lists))
    seen: dict[str, RunFolder] = {}
    for slide, run in slides:
        other = seen.setdefault(slide.slide_id, run)
        if other is not run:
            raise AtsError(f"{run.path}: slide {slide.slide_id} is in {other.path} too. Leave one of the runs out.")
    return slides
