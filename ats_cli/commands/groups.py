"""What a run says of its groups on stdout, after its slides: a line of JSON each, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ats_cli.commands.messages import answer, say
from ats_cli.commands.streams import console
from ats_cli.records import Prediction

if TYPE_CHECKING:
    from ats_cli.results.groups import Weights
    from ats_cli.slides import SlideSource

NAMED = 5  # groups that are named in one message


class GroupAnswer:
    """The groups of a call's slides by the column `group_by`; nothing where it is None."""

    def __init__(
        self,
        as_json: bool,
        sources: Sequence[SlideSource],
        group_by: str | None,
        weights: Weights,
        shard: str | None,
    ) -> None:
        from ats_cli.results.groups import GroupBy

        self.by = None if group_by is None else GroupBy(group_by, weights)
        self._as_json, self._shard = as_json, shard
        self._group_of = {s.slide_id: s.group for s in sources if s.group is not None}
        self._found: dict[str, Prediction] = {}

    def add(self, prediction: Prediction) -> None:
        """Take in what was predicted of a slide."""
        if self.by is not None:
            from ats_cli.results.run import without_tiles

            self._found[prediction.slide_id] = without_tiles(prediction)

    def end(self, quiet: bool) -> None:
        """Print the groups of which all slides have come."""
        if self.by is None:
            return
        if self._shard is not None:
            if not quiet:
                say("groups have slides in other parts: `ats merge` writes one row a group.")
            return
        from ats_cli.results.groups import group_dict, grouped
        from ats_cli.results.record import json_line
        from ats_cli.results.table import print_groups

        groups = grouped(self._group_of, self._found, self.by.weights)
        if self._as_json:
            for group in groups:
                answer(json_line(group_dict(group)))
        elif groups:
            print_groups(console(), self.by.column, groups)
        lacking = [group for group in groups if group.failed]
        if lacking and not quiet:
            named = [
                f"{group.prediction.slide_id} ({len(group.failed)} of {len(group.failed) + len(group.slides)})"
                for group in lacking[:NAMED]
            ]
            more = ", ..." if len(lacking) > NAMED else ""
            say(f"{len(lacking)} of {len(groups)} groups lack slides that failed: {', '.join(named)}{more}.")
