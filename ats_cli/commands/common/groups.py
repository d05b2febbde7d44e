"""The groups of a run on stdout, after its slides: a line of JSON each, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ats_cli.commands.common.messages import answer, say
from ats_cli.commands.common.streams import console
from ats_cli.records import Prediction

if TYPE_CHECKING:
    from ats_cli.results.groups import Group, GroupBy
    from ats_cli.slides import SlideSource

NAMED = 5  # groups that are named in one message


class GroupOutput:
    """Prints the groups of a call's slides; nothing where `group_by` is None. `is_part`: of a job array's slides."""

    def __init__(
        self, as_json: bool, sources: Sequence[SlideSource], group_by: GroupBy | None, is_part: bool, quiet: bool
    ) -> None:
        self._as_json, self._group_by, self._is_part, self._quiet = as_json, group_by, is_part, quiet
        self._group_of = {s.slide_id: s.group for s in sources if s.group is not None}
        self._predictions: dict[str, Prediction] = {}

    def add(self, prediction: Prediction, is_new: bool = True) -> None:
        if self._group_by is not None:
            from ats_cli.results.run.slide_files import without_tiles

            self._predictions[prediction.slide_id] = without_tiles(prediction)

    def end(self) -> None:
        """Print the groups of which all slides have been predicted."""
        if self._group_by is None:
            return
        if self._is_part:
            if not self._quiet:
                say("groups have slides in other parts: `ats merge` writes one row a group.")
            return
        from ats_cli.results.groups import group_dict, grouped
        from ats_cli.results.record import json_line
        from ats_cli.results.table import print_groups

        groups = grouped(self._group_of, self._predictions, self._group_by.weights)
        if self._as_json:
            for group in groups:
                answer(json_line(group_dict(group)))
        elif groups:
            print_groups(console(), self._group_by.column, groups)
        if not self._quiet:
            _warn_of_failures(groups)


def _warn_of_failures(groups: Sequence[Group]) -> None:
    incomplete = [group for group in groups if group.failed]
    if incomplete:
        named = [
            f"{group.prediction.slide_id} ({len(group.failed)} of {len(group.failed) + len(group.slides)})"
            for group in incomplete[:NAMED]
        ]
        more = ", ..." if len(incomplete) > NAMED else ""
        say(f"{len(incomplete)} of {len(groups)} groups lack slides that failed: {', '.join(named)}{more}.")
