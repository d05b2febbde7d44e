"""Failed slides by kind, with advice for each kind."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from ats_cli.errors import Failure
from ats_cli.records import Prediction
from ats_cli.results.table import plain_table, text

NAMED = 3  # slides that are named of each kind

ADVICE: dict[Failure, str] = {
    "unreadable": "Copy the files again; `ats info FILE --check` says what is wrong with one.",
    "no scale": "Give --mpp, or a column mpp in the manifest.",
    "no tissue": "Check the slides: empty, or too pale for the tissue mask.",
    "regions": "Check the files of regions, and --roi-class and --roi-origin.",
    "missing": "Give the workers the same files at the same paths; the same call then tries them again.",
    "too large": "Check their mpp; if it is right, give --sampler murthy.",
    "crashed": "Try another --backend, or convert the files to TIFF.",
    "timed out": "Give more --slide-timeout, or bring the files nearer.",
    "memory": "Use fewer --processes or --threads.",
    "unforeseen": "A fault of ats: run one slide with --debug, and report what it says.",
}


PASSING: frozenset[Failure] = frozenset({"missing"})
"""Failures that say nothing about the slide."""


def is_tried_again(prediction: Prediction, retry_failed: bool) -> bool:
    """Return whether the next call on a run predicts a failed slide again: a passing failure without being asked."""
    return prediction.status == "failed" and (retry_failed or prediction.failure in PASSING)


def print_failures(console: Console, failed: Iterable[Prediction]) -> None:
    """Print one row per kind: how many slides, some of their names, advice."""
    kinds: dict[Failure, list[str]] = {}
    for p in failed:
        kinds.setdefault(p.failure or "unforeseen", []).append(p.slide_id)
    table = plain_table()
    table.add_column("failed", justify="right")
    for heading in ("kind", "slides", "what to do"):
        table.add_column(heading, overflow="fold")
    for kind in sorted(kinds, key=lambda kind: -len(kinds[kind])):
        names = kinds[kind]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        table.add_row(*map(text, (str(len(names)), kind, ", ".join(names[:NAMED]) + more, ADVICE[kind])))
    console.print(table)
