"""Options about labelled slides, for commands that measure or train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ats_cli.commands.options.slide import SLIDES
from ats_cli.paths import user_path

LabelledFolder = Annotated[
    Path | None,
    typer.Argument(
        parser=user_path,
        help="A folder with one subfolder a class, slides inside.",
        metavar="SLIDES",
        show_default=False,
    ),
]
LabelledManifest = Annotated[
    Path | None,
    typer.Option(
        parser=user_path,
        metavar="CSV",
        help="Instead: a table (CSV) with columns 'slide' and 'label', and optionally 'split' (train, val, test), "
        "'group' (the patient), 'mpp', and for training 'weight' and 'roi'; or with the names of CLAM and STAMP.",
        rich_help_panel=SLIDES,
    ),
]
SlidesRoot = Annotated[
    Path | None,
    typer.Option(
        parser=user_path, metavar="FOLDER", help="The folder of the manifest's slides.", rich_help_panel=SLIDES
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show all that is understood of the slides, and stop: nothing is computed or written.",
        rich_help_panel="Running",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Only the slides of this part of the split: train, val, test, or a name of the table's own. "
        "Without it, those of 'test' if there are any, else all.",
        rich_help_panel=SLIDES,
    ),
]
