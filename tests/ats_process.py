"""`ats` in a process of its own, for what this process cannot show: its start, its end, its streams."""

from __future__ import annotations

import sys

ATS = [sys.executable, "-c", "from ats_cli.app import main; main()"]
"""The start of a command line of one command."""

# A process takes seconds to import torch: several commands share one where only its streams and its locale matter.
_SERIES = """
from ats_cli import app
run = app.run
app.run = lambda commands: max(run(command.split("\\n")) for command in commands)
app.main()
"""


def ats_series(*commands: tuple[object, ...]) -> list[str]:
    """The command line of a process that runs commands one after the other and ends with the highest of their
    statuses."""
    return [sys.executable, "-c", _SERIES, *("\n".join(map(str, command)) for command in commands)]
