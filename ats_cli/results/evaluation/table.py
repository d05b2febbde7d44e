"""An evaluation for people: the figures, a column a budget, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ats_cli.results.budget_figures import BudgetFigures
from ats_cli.results.evaluation.bootstrap import IntervalEstimate
from ats_cli.results.table import NOTHING, megabytes, plain_table, text

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "calibration_error": "calibration error",
}


def print_evaluation(
    console: Console, found: Sequence[BudgetFigures], classes: Sequence[str], group_by: str | None = None
) -> None:
    """Print the figures with their 95 % intervals at each budget, and the confusion matrix at the largest.

    `group_by`: they are figures of groups, by that column.
    """
    table = plain_table()
    table.add_column(text(f"by {group_by}" if group_by else "95 % intervals"), overflow="fold")
    for at in found:
        table.add_column("all tiles" if at.tiles is None else f"{at.tiles} tiles", justify="right", overflow="fold")
    for name, said in NAMES.items():
        table.add_row(said, *(_said(at.figures[name]) for at in found))
    if group_by is None:
        _add_cost(table, found)
    console.print(table)

    confusion = plain_table()
    confusion.add_column("label \\ predicted", overflow="fold")
    for name in classes:
        confusion.add_column(text(name), justify="right", overflow="fold")
    for name, line in zip(classes, found[-1].confusion, strict=True):
        confusion.add_row(text(name), *map(str, line))
    console.print(confusion)


def _add_cost(table: Table, found: Sequence[BudgetFigures]) -> None:
    table.add_section()
    table.add_row("tiles a slide", *(_number(at.cost["tiles"], ".1f") for at in found))
    table.add_row("MB a slide", *(_megabytes(at.cost["bytes"]) for at in found))
    table.add_row("seconds a slide", *(_number(at.cost["seconds"], ".2f") for at in found))


def _said(estimate: IntervalEstimate) -> str:
    if estimate.value is None:
        return NOTHING
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def _megabytes(size: float | None) -> str:
    return NOTHING if size is None else megabytes(round(size))
