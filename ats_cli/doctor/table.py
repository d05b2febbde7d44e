"""The table that `ats doctor` prints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.table import Table
from rich.text import Text

from ats_cli.doctor.finding import Finding

STYLES = {"ok": "green", "optional": "yellow", "failed": "bold red"}


def doctor_table(findings: Sequence[Finding]) -> Table:
    """Return a row for each finding, grouped by area, with the advice below what does not work."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for style in ("bold", "", ""):
        table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for area, members in groupby(findings, lambda finding: finding.area):
        for number, finding in enumerate(members):
            status = Text(finding.status, STYLES[finding.status])
            table.add_row(Text("" if number else area), status, Text(finding.name), Text(finding.detail))
            if finding.advice:
                table.add_row("", "", "", Text(finding.advice, "dim"))
    return table


def summary(findings: Sequence[Finding]) -> str:
    """Return one sentence: whether all works."""
    failed = [finding.name for finding in findings if finding.status == "failed"]
    if failed:
        return f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}."
    return f"All works: {len(findings)} checks, none failed."
