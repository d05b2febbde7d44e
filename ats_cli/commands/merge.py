"""`ats merge`: the runs of a job array become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ats_cli.commands.options import base as o
from ats_cli.paths import user_path

EXAMPLES = """Examples:

ats merge parts/1 parts/2 parts/3 -o run

ats merge parts/* -o run --overwrite"""


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=user_path, help="Run folders of `ats predict -o`, usually with --shard.", metavar="RUN..."
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=user_path,
            metavar="FOLDER",
            help="The run folder that gets them all.",
            rich_help_panel=o.OUTPUT,
        ),
    ],
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Start over: the output's previous results are deleted.", rich_help_panel=o.OUTPUT
        ),
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Join run folders into one: slides in the order of the whole list, files copied.

    Runs of different models, settings or precisions are refused, and so is a slide that is in two of them. The same
    call continues a merge that was killed or lacked a part.

    Exit status: 0 all slides are there, 1 a part or predictions are missing (the others are written), 2 the call is
    wrong.
    """
    import sys

    from ats_cli.commands.common.messages import say
    from ats_cli.results.run.merge import merge_runs
    from ats_cli.results.run.provenance import facts

    merged = merge_runs(runs, output, facts(sys.argv[1:], ""), overwrite=overwrite)
    if not quiet:
        missing = f", {merged.missing} of them not predicted yet" if merged.missing else ""
        say(f"{merged.slides} slides of {len(runs)} runs are in {output}{missing}.")
    for sentence in merged.lacks:
        say(sentence)
    raise typer.Exit(1 if merged.lacks else 0)
