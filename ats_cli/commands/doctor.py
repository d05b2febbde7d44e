"""`ats doctor`: what works on this machine, and what to do about what does not."""

from __future__ import annotations

from typing import Annotated

import typer

from ats_cli.commands.options import base as o

# `ats doctor` alone runs the checks.
NO_ARGS_IS_HELP = False

EXAMPLES = """Examples:

ats doctor

ats doctor --model my-model --device cuda --json"""


def command(
    model: o.Model = None,
    device: o.Device = "auto",
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a check, a line each.", rich_help_panel=o.OUTPUT)
    ] = False,
    debug: o.Debug = False,
) -> None:
    """Check the installation: versions, devices, codecs, readers, extras, the model, folders.

    Each codec and reader decodes one tile of a small slide that is written for it.

    Exit status: 0 all works (extras may be missing), 1 something does not, 2 the call is wrong.
    """
    from dataclasses import asdict

    from ats_cli.commands.common.messages import answer
    from ats_cli.commands.common.streams import console
    from ats_cli.doctor import run_checks
    from ats_cli.doctor.table import doctor_table, summary
    from ats_cli.results.record import json_line

    findings = list(run_checks(model, device))
    if json:
        for finding in findings:
            answer(json_line(asdict(finding)))
    else:
        tables = console()
        tables.print(doctor_table(findings))
        answer(summary(findings))
    raise typer.Exit(int(any(finding.status == "failed" for finding in findings)))
