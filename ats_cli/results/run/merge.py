"""Merge run folders into one: the parts of a job array."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ats_cli.errors import AtsError
from ats_cli.records import DEFAULT_TASK
from ats_cli.results.report.report_file import REPORT_OPTION, has_report
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.request import RunRequest
from ats_cli.results.run.run_file import RunSlide, read_run
from ats_cli.results.run.same_run import differences

NAMED = 5  # parts that are named in one message


class Merged(NamedTuple):
    """How many slides were merged, how many of them have no prediction, and a sentence about each thing missing."""

    slides: int
    missing: int
    lacks: tuple[str, ...] = ()


def merge_runs(paths: Sequence[Path], output: Path, facts: Mapping[str, Any], *, overwrite: bool = False) -> Merged:
    """Copy the slides of the runs at `paths` into a new run; `facts` are added to its run.json.

    If the runs are all parts of one call (`--shard`), the slides are in the order of that call; else run after run. A
    merge of these runs, or of some of them, that was interrupted or incomplete is replaced. Raises AtsError before
    anything is written if a folder is not a run, models or settings differ, a slide is in two runs, or `output` has
    another run and `overwrite` is not set.
    """
    runs = [RunFolder(path) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        if not run.exists:
            raise AtsError(f"{path}: no run here. Give folders that `ats predict -o` wrote.")
        if path.resolve() == output.resolve():
            raise AtsError(f"{path}: is to be read and written. Give -o another folder.")
        _refuse_other(runs[0], run)
    of = [str(path.absolute()) for path in paths]
    into = RunFolder(output, {REPORT_OPTION} if any(map(has_report, paths)) else ())
    overwrite = overwrite or into.is_unfinished_merge(of)
    if into.exists and not overwrite:
        raise AtsError(f"{output}: holds a run already. Give -o another folder, or --overwrite.")
    slides = _in_order(runs)
    parts = _parts_missing(runs)
    classes = next((classes for run in runs if (classes := run.classes())), ())
    device = ", ".join(dict.fromkeys(run.device for run in runs))
    notice = (read_run(paths[0]) or {}).get("notice")
    facts = {**facts, "device": device, "notice": notice, "shard": None, "merged": of, "parts_missing": parts}
    task = next((task for run in runs if (task := run.task())), DEFAULT_TASK)
    first, of_all = runs[0], [slide for slide, _ in slides]
    into.begin(
        RunRequest(of_all, first.settings, first.model, classes, facts, task=task, group_by=first.group_by),
        overwrite=overwrite,
    )
    lacking: dict[Path, int] = {}
    into.whole = False
    try:
        for slide, run in slides:
            if not into.take(run, slide.slide_id):
                lacking[run.path] = lacking.get(run.path, 0) + 1
        into.whole = not (parts or lacking)
    finally:
        into.end()
    return Merged(len(slides), sum(lacking.values()), _lacks(parts, lacking, runs))


def _parts_missing(runs: Sequence[RunFolder]) -> list[str]:
    """Return the parts without a run, like "2/3"."""
    there = {run.shard for run in runs if run.shard is not None}
    wholes = sorted({parts for _, parts in there})
    return [f"{i}/{parts}" for parts in wholes for i in range(1, parts + 1) if (i, parts) not in there]


def _lacks(parts: Sequence[str], lacking: Mapping[Path, int], runs: Sequence[RunFolder]) -> tuple[str, ...]:
    sentences = []
    if parts:
        named = ", ".join(parts[:NAMED]) + (", ..." if len(parts) > NAMED else "")
        what, verb = ("part", "is") if len(parts) == 1 else ("parts", "are")
        sentences.append(f"{what} {named} {verb} missing. Give the runs of all parts to continue the merge.")
    for run in runs:
        if run.path in lacking:
            sentences.append(
                f"{run.path}: {lacking[run.path]} of {len(run.slides)} slides have no prediction. "
                "Run this part again, then the same merge."
            )
    return tuple(sentences)


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
    """Return all slides, each with its run. Raises AtsError for a slide that is in two runs."""
    parts = sorted(runs, key=lambda run: run.shard or (0, 0))
    whole = [run.shard for run in parts] == [(i + 1, len(parts)) for i in range(len(parts))]
    lists = [[(slide, run) for slide in run.slides.values()] for run in (parts if whole else runs)]
    if whole:  # a part has every n-th slide
        rounds = itertools.zip_longest(*lists)
        slides = [one for some in rounds for one in some if one is not None]
    else:
        slides = list(itertools.chain.from_iterable(lists))
    ids: dict[str, RunFolder] = {}
    files: dict[str, tuple[RunSlide, RunFolder]] = {}
    for slide, run in slides:
        other = ids.setdefault(slide.slide_id, run)
        if other is not run:
            raise AtsError(_in_two(slide.slide_id, run, other))
        if "://" not in slide.path:  # a run stores URLs without their query, so different URLs may look equal
            first, there = files.setdefault(slide.path, (slide, run))
            if there is not run:
                raise AtsError(
                    f"{run.path}: slide {slide.slide_id} is the file of {first.slide_id} in {there.path}. "
                    "Leave one of the runs out."
                )
    return slides


def _in_two(slide_id: str, run: RunFolder, other: RunFolder) -> str:
    """Return the sentence about a slide that is in two runs: the same file, or two files with the same name."""
    marks = [record.provenance.fingerprint for r in (run, other) if (record := r.record(slide_id)) is not None]
    if len(marks) == 2 and None not in marks and len({mark.content for mark in marks if mark}) == 2:
        return (
            f"{run.path}: slide {slide_id} is another file than in {other.path}: their content differs. "
            "Predict the slides of both in one run, so that each has an id of its own."
        )
    return f"{run.path}: slide {slide_id} is in {other.path} too. Leave one of the runs out."
