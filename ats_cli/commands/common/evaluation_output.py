"""The figures of an evaluation on stdout: one line of JSON, or tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ats_cli.commands.common.messages import answer
from ats_cli.commands.common.streams import console

if TYPE_CHECKING:
    from ats_cli.results.budget_figures import BudgetFigures
    from ats_cli.results.groups import GroupBy


def print_figures(
    figures: Sequence[BudgetFigures],
    record: dict[str, Any],
    classes: Sequence[str],
    group_by: GroupBy | None,
    as_json: bool,
) -> None:
    """Print the figures of slides and, with `group_by`, of groups. `record`: what metrics.json holds."""
    from ats_cli.results.evaluation.table import print_evaluation
    from ats_cli.results.record import json_line

    if as_json:
        answer(json_line(record))
        return
    print_evaluation(console(), figures, classes)
    if group_by is not None:
        print_evaluation(console(), [at.by_group for at in figures if at.by_group], classes, group_by.column)
