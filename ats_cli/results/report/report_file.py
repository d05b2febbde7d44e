"""The report's file in a run folder. It is checked at the end of every run, so the report itself is not imported."""

from __future__ import annotations

from pathlib import Path

REPORT, REPORT_OPTION = "report.html", "report"
OWN = '<meta name="generator" content="ats">'


def has_report(folder: Path) -> bool:
    """Whether there is a report in a folder, which ats wrote: a file of a user is not replaced."""
    try:
        with (folder / REPORT).open("rb") as file:
            return OWN.encode() in file.read(1000)
    except OSError:
        return False
