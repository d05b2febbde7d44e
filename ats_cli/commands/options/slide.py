"""Options about slides and how they are opened."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ats_cli.paths import user_path
from ats_cli.registry import FORMATS

SLIDES = "Slides"

# typer takes the choices of an option from its type.
if TYPE_CHECKING:
    BackendName = str
else:
    BackendName = Literal[FORMATS.names]
# Literals for the help page; a test compares them with `ats_cli.records`.
ColorProfileName = Literal["none", "srgb"]
RoiOriginName = Literal["auto", "bounds", "level0"]


def positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value} is not a number above 0.")
    return value


Slides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders (searched for slides, with their subfolders), globs in quotes, and URLs.",
        metavar="SLIDES",
        show_default=False,
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        parser=user_path,
        metavar="CSV",
        help="Take the slides from a table (CSV): column 'slide' (or 'path'), and 'mpp' where a slide needs one. "
        "Paths are relative to the CSV's folder.",
        rich_help_panel=SLIDES,
    ),
]
Na = Annotated[
    Literal["auto", "none"],
    typer.Option(
        "--na",
        envvar="ATS_NA",
        help="auto: NA, N/A, NaN, NULL and the like in a table are missing values; none: they are text.",
        rich_help_panel=SLIDES,
    ),
]
Mpp = Annotated[
    float | None,
    typer.Option(
        callback=positive,
        help="Microns per pixel of level 0, if the file has none or a wrong one. A manifest's column takes precedence.",
        rich_help_panel=SLIDES,
    ),
]
Backend = Annotated[
    BackendName | None,
    typer.Option(help="Reader to use. Without it, chosen by the file's content.", rich_help_panel=SLIDES),
]
Plane = Annotated[
    str | None,
    typer.Option(
        metavar="z=,c=,t=,series=",
        help="Plane of a file with several, counted from 0, like z=1,c=0. Without it, the middle focal plane and the "
        "first time point; if channels are not red, green and blue, one must be given.",
        rich_help_panel=SLIDES,
    ),
]
MaxUnreadable = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="FRACTION",
        help="A slide fails if more than this share of its attention, as estimated, is unreadable.",
        rich_help_panel=SLIDES,
    ),
]
ColorProfile = Annotated[
    ColorProfileName | None,
    typer.Option(
        help="srgb applies the colour profile that a file embeds. Without it, none: colours as they are stored.",
        rich_help_panel=SLIDES,
    ),
]
Roi = Annotated[
    Path | None,
    typer.Option(
        parser=user_path,
        metavar="FILE|FOLDER",
        help="Regions to draw tiles from, GeoJSON as QuPath writes it: one file, or a folder with SLIDE.geojson for "
        "each slide. A manifest's column 'roi' takes precedence.",
        rich_help_panel=SLIDES,
    ),
]
RoiClass = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Only regions of this class; may be given several times. Without it, all.",
        rich_help_panel=SLIDES,
    ),
]
RoiOrigin = Annotated[
    RoiOriginName | None,
    typer.Option(
        help="Where coordinates of regions begin on a slide with bounds (`ats info`): at the bounds, as in QuPath, or "
        "at level 0. Without it, auto: the one that puts the regions on the slide; if both do, bounds.",
        rich_help_panel=SLIDES,
    ),
]
Download = Annotated[
    bool,
    typer.Option(
        "--download",
        help="Download URLs that cannot be read remotely (all but tiled TIFF and OME-Zarr); delete them afterwards.",
        rich_help_panel=SLIDES,
    ),
]
