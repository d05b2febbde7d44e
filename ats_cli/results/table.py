"""The table on stdout: one row per slide."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ats_cli.records import DEFAULT_TASK, NOMINAL_SCALE, Prediction
from ats_cli.registry import TASKS
from ats_cli.results.groups import Group
from ats_cli.text import printable

NOTHING = "-"
UNBOUNDED = 10_000  # characters; wider than any table


def print_predictions(console: Console, predictions: Sequence[Prediction]) -> None:
    """Print one row per slide. The errors of failed slides are below the table if the rows have no room for them."""
    table = prediction_table(predictions)
    unbounded = console.options.update(width=UNBOUNDED)
    if console.measure(table, options=unbounded).maximum <= console.width:
        console.print(table)
        return
    console.print(prediction_table(predictions, errors=False))
    for p in predictions:
        if p.status == "failed":
            console.print(text(f"failed: {p.error}"))


def prediction_table(predictions: Sequence[Prediction], errors: bool = True) -> Table:
    """Return one row per slide. Columns that apply to no slide are left out; no text is cut.

    They are: why reading stopped, unreadable tiles, how unfamiliar the slide is, the nominal scale, the error.
    """
    failures = errors and any(p.status == "failed" for p in predictions)
    adaptive = any(p.sampling.settled is not None for p in predictions)
    damaged = any(p.sampling.tiles_unreadable or p.sampling.mass_unreadable for p in predictions)
    unfamiliar = any(p.comparison.unfamiliar for p in predictions)
    nominal = any(p.provenance.mpp_source == NOMINAL_SCALE for p in predictions)
    table = plain_table()
    # Long names wrap on a narrow terminal: a class name on two lines is better than a half.
    table.add_column("slide", overflow="fold")
    table.add_column("class", overflow="fold")
    for heading in (_answer_heading(predictions), "std. error", "tiles", "attention", "MB read", "seconds"):
        table.add_column(heading, justify="right", overflow="fold")
    if adaptive:
        table.add_column("stopped", overflow="fold")
    if damaged:
        table.add_column("unreadable", justify="right", overflow="fold")
    if unfamiliar:
        table.add_column("unfamiliar", justify="right", overflow="fold")
    if nominal:
        table.add_column("mpp", justify="right", overflow="fold")
    if failures:
        table.add_column("error", overflow="fold")
    for p in predictions:
        cells = _cells(p) + [_stopped(p)] * adaptive + [_unreadable(p)] * damaged
        cells += [_unfamiliar(p)] * unfamiliar + [_mpp(p)] * nominal + [p.error or ""] * failures
        table.add_row(*map(text, cells))
    return table


def print_groups(console: Console, column: str, groups: Sequence[Group]) -> None:
    """Print one row per group, with how many of its slides were predicted."""
    table = plain_table()
    table.add_column(text(column), overflow="fold")
    table.add_column("class", overflow="fold")
    for heading in (_answer_heading([group.prediction for group in groups]), "std. error", "slides", "tiles"):
        table.add_column(heading, justify="right", overflow="fold")
    for group in groups:
        name, chosen, value, error, tiles, *_ = _cells(group.prediction)
        slides = f"{len(group.slides)} of {len(group.slides) + len(group.failed)}"
        table.add_row(*map(text, (name, chosen, value, error, slides, tiles)))
    console.print(table)


def plain_table() -> Table:
    """Return an empty table in the common style."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


def text(value: str, style: str = "") -> Text:
    """Return a text without markup and control characters."""
    return Text(printable(value, lines=True), style)


def megabytes(size: int | None) -> str:
    """Return a size in MB (10**6 bytes), with more digits below 0.1 MB."""
    if size is None:
        return NOTHING
    return f"{size / 1e6:,.1f}" if size >= 1e5 else f"{size / 1e6:.3f}"


def error_text(error: float) -> str:
    """Return a standard error as text; "0.000" is only used for 0."""
    return "<0.001" if 0 < error < 0.0005 else f"{error:.3f}"


def _answer_heading(predictions: Sequence[Prediction]) -> str:
    """Return the heading of the column of answers; failed slides carry no task."""
    return TASKS[next((p.task for p in predictions if p.status == "ok"), DEFAULT_TASK)].heading


def _cells(p: Prediction) -> list[str]:
    number, error = TASKS[p.task].shown(p)
    sampling, cost = p.sampling, p.cost
    total = (cost.seconds or {}).get("total")
    return [
        p.slide_id,
        p.predicted or NOTHING,
        NOTHING if number is None else f"{number:.3f}",
        NOTHING if error is None else error_text(error),
        NOTHING if sampling.tiles is None else f"{sampling.tiles} of {sampling.positions}",
        NOTHING if sampling.attention_mass is None else f"{sampling.attention_mass:.1%}",
        NOTHING if cost.bytes_total is None else f"{megabytes(cost.bytes_read)} of {megabytes(cost.bytes_total)}",
        NOTHING if total is None else f"{total:.2f}",
    ]


def _stopped(p: Prediction) -> str:
    """Return why reading stopped, for a run with a stopping rule."""
    return NOTHING if p.sampling.settled is None else "settled" if p.sampling.settled else "budget reached"


def _unreadable(p: Prediction) -> str:
    """Return how many of the tiles could not be read, and the estimated share of the attention on them."""
    of = p.sampling
    if not (of.tiles_unreadable or of.mass_unreadable):
        return NOTHING
    return f"{of.tiles_unreadable} of {of.tiles} ({of.mass_unreadable:.1%})"


def _unfamiliar(p: Prediction) -> str:
    """Return the distance from the training slides in multiples of the limit, for a slide beyond the limit."""
    return f"{p.comparison.unfamiliar_score:.1f} x" if p.comparison.unfamiliar else NOTHING


def _mpp(p: Prediction) -> str:
    """Return the microns per pixel of level 0, and whether they are nominal, from the objective's power."""
    mpp = p.provenance.mpp
    if mpp is None:
        return NOTHING
    return f"{mpp:g} (nominal)" if p.provenance.mpp_source == NOMINAL_SCALE else f"{mpp:g}"
