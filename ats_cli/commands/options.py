"""Options that several commands share: the same word means the same thing in every command.

Panels: Slides, Model, Sampling, Output, Running. Names to choose from are spelt out for the help page; a test holds
them against `ats_cli.records`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from ats_cli.registry import SAMPLERS

SLIDES, MODEL, SAMPLING, OUTPUT, RUNNING = "Slides", "Model", "Sampling", "Output", "Running"

SAMPLER_HELP = f"How positions are drawn: {', '.join(SAMPLERS)}."
BackendName = Literal["openslide", "tiff", "zarr", "dicom", "image"]
ColorProfileName = Literal["none", "srgb"]


def check_sampler(name: str | None) -> str | None:
    """Raises AtsError, with the nearest name, for an unknown sampler."""
    return name if name is None else SAMPLERS.check(name)


def _positive(value: float | None) -> float | None:
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
        metavar="CSV",
        help="Take the slides from a CSV: column 'slide' (or 'path'), and 'mpp' where a slide needs one. "
        "Paths are relative to the CSV's folder.",
        rich_help_panel=SLIDES,
    ),
]
Mpp = Annotated[
    float | None,
    typer.Option(
        callback=_positive,
        help="Microns per pixel of level 0, where the file has none or is wrong. A manifest's column wins.",
        rich_help_panel=SLIDES,
    ),
]
Backend = Annotated[
    BackendName | None,
    typer.Option(help="Force a reader. Without it, the file's content decides.", rich_help_panel=SLIDES),
]
Plane = Annotated[
    str | None,
    typer.Option(
        metavar="z=,c=,t=,series=",
        help="Which plane of a file with several, counted from 0, like z=1,c=0. Without it, the middle focal plane "
        "and the first time point; of channels that are not red, green and blue, one must be named.",
        rich_help_panel=SLIDES,
    ),
]
MaxUnreadable = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="FRACTION",
        help="A slide fails when more than this share of its attention, as estimated, is on what cannot be read.",
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
        metavar="FILE|FOLDER",
        help="Regions to draw tiles from, GeoJSON as QuPath writes it: one file, or a folder with SLIDE.geojson for "
        "each slide. A manifest's column wins.",
        rich_help_panel=SLIDES,
    ),
]
Download = Annotated[
    bool,
    typer.Option(
        "--download",
        help="Of a URL, fetch what cannot be read where it lies (all but tiled TIFF and OME-Zarr); delete it after.",
        rich_help_panel=SLIDES,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FOLDER|hf://OWNER/NAME",
        help="A model folder, the name of a model that ships with ats, or one of the hub. Without it: the environment "
        "variable ATS_MODEL, else what `ats models default` was told, else the demonstration model.",
        rich_help_panel=MODEL,
    ),
]
Tiles = Annotated[
    int | None,
    typer.Option(
        "--tiles",
        "-n",
        min=1,
        help="The budget: tiles read per slide. Without it, the model's own.",
        rich_help_panel=SAMPLING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, help="Seed of the draw: the same seed and slide give the same tiles.", rich_help_panel=SAMPLING
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Also one row a group, as a rule a patient: slides with the same value in this column of the manifest.",
        rich_help_panel=OUTPUT,
    ),
]
GroupWeights = Annotated[
    Literal["equal", "tissue"],
    typer.Option(
        metavar="NAME",
        help="What a slide counts in its group: equal, or tissue, by its area.",
        rich_help_panel=OUTPUT,
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=RUNNING),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option(
        metavar="NAME",
        help="What the feature net computes in: auto, fp32, bf16 or fp16. auto is bf16 where the device has it and the "
        "net is large enough to gain. A run keeps to one.",
        rich_help_panel=RUNNING,
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads that read and decode.", rich_help_panel=RUNNING)]
Processes = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=1024,
        envvar="ATS_PROCESSES",
        help="Worker processes: a slide that crashes one costs itself only. 0: none, in the one process. Without it, "
        "none for one slide, else as many as there are cores, at most 8.",
        rich_help_panel=RUNNING,
    ),
]
SlideTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        callback=_positive,
        help="The most time for one slide, which then counts as failed. Without it, an hour in worker processes, and "
        "no limit with --exhaustive.",
        rich_help_panel=RUNNING,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on stderr.", rich_help_panel=RUNNING)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of what goes wrong.", rich_help_panel=RUNNING)]
