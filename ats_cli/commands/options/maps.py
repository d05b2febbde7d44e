"""Options of the maps that `ats heatmap` writes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ats_cli.commands.options.output import OUTPUT

SlidesOrRun = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders (searched with their subfolders), globs in quotes, and URLs; or one run folder.",
        metavar="SLIDES|RUN",
        show_default=False,
    ),
]
What = Annotated[
    str,
    typer.Option(
        "--what",
        metavar="MAP",
        help="attention; evidence, each tile's exact share of the logit of the answer; or evidence:CLASS.",
        rich_help_panel=OUTPUT,
    ),
]
MapFormat = Annotated[
    Literal["png", "png-map", "ome-tiff", "ome-zarr"],
    typer.Option(
        "--format",
        help="png, a picture with legend; png-map, the map alone with the exact aspect of the slide; ome-tiff or "
        "ome-zarr, values that line up.",
        rich_help_panel=OUTPUT,
    ),
]
MaxSize = Annotated[
    int,
    typer.Option(
        min=64, max=20_000, help="The longer side of the slide in the picture, in pixels.", rich_help_panel=OUTPUT
    ),
]
Alpha = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="How opaque the highest attention is; less attention is fainter.", rich_help_panel=OUTPUT
    ),
]
Colormap = Annotated[
    str | None,
    typer.Option(
        help="Any colormap of matplotlib. Without it, turbo, and RdBu_r for evidence.", rich_help_panel=OUTPUT
    ),
]
Scale = Annotated[
    Literal["auto", "linear", "log", "rank"],
    typer.Option(
        help="How attention becomes colour: linear shows the highest only, log and rank faint places too; auto is log "
        "where attention is peaked, else rank.",
        rich_help_panel=OUTPUT,
    ),
]
NoOverlay = Annotated[
    bool, typer.Option("--no-overlay", help="The map alone, without the slide.", rich_help_panel=OUTPUT)
]
