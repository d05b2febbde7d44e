"""Options about what is written, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ats_cli.paths import user_path
from ats_cli.registry import NESTED_SAMPLER

OUTPUT = "Output"

RunOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=user_path,
        metavar="FOLDER",
        help="Also write a run folder: predictions.csv, run.json, and the tiles of each slide. "
        "Slides that are done in it are not predicted again.",
        rich_help_panel=OUTPUT,
    ),
]
ModelOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=user_path,
        metavar="FOLDER",
        help="The model folder to write.",
        rich_help_panel=OUTPUT,
    ),
]
FiguresOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=user_path,
        metavar="FOLDER",
        help="Also write metrics.json, predictions.csv and the plots.",
        rich_help_panel=OUTPUT,
    ),
]
PicturesOutput = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=user_path,
        metavar="FILE|FOLDER",
        help="A file for one slide, .png or that of --format, or a folder that gets one a slide.",
        rich_help_panel=OUTPUT,
    ),
]
Extend = Annotated[
    bool,
    typer.Option(
        "--extend",
        help=f"Continue a run drawn with {NESTED_SAMPLER} to more --tiles, reading only the new ones. "
        "Options that are not given, and the slides, are those of the run.",
        rich_help_panel=OUTPUT,
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Predict failed slides again.", rich_help_panel=OUTPUT),
]
OverwriteRun = Annotated[
    bool, typer.Option("--overwrite", help="Start the run over: its results are deleted.", rich_help_panel=OUTPUT)
]
GeoJson = Annotated[
    bool,
    typer.Option(
        "--geojson",
        help="Also write tiles.geojson for each slide: the tiles and the region of the positions, for QuPath.",
        rich_help_panel=OUTPUT,
    ),
]
Heatmap = Annotated[
    bool,
    typer.Option(
        "--heatmap",
        help="Also write heatmap.png and evidence.png for each slide: attention, and evidence for the answer.",
        rich_help_panel=OUTPUT,
    ),
]
AttentionFormat = Annotated[
    Literal["ome-tiff", "ome-zarr", "ome-zarr-0.4"] | None,
    typer.Option(
        "--attention",
        help="Also write the attention over each slide as a map: ome-tiff (values and colours), or ome-zarr. QuPath "
        "reads OME-Zarr up to 0.4.",
        rich_help_panel=OUTPUT,
    ),
]
Hdf5 = Annotated[
    bool,
    typer.Option(
        "--hdf5",
        help="Also write tiles.h5 for each slide: coordinates and features of its tiles, as CLAM and TRIDENT do.",
        rich_help_panel=OUTPUT,
    ),
]
SaveTiles = Annotated[
    bool,
    typer.Option(
        "--save-tiles",
        help="Also write the tiles of each slide as pictures, and one contact sheet sorted by evidence.",
        rich_help_panel=OUTPUT,
    ),
]
Report = Annotated[
    bool,
    typer.Option(
        "--report",
        help="Also write report.html: a table of all slides, and of each the attention and the ten tiles that decided "
        "most, in one file for the browser.",
        rich_help_panel=OUTPUT,
    ),
]
JsonLines = Annotated[
    bool,
    typer.Option("--json", help="One JSON object a slide, a line each, as each finishes.", rich_help_panel=OUTPUT),
]
JsonMetrics = Annotated[
    bool, typer.Option("--json", help="The content of metrics.json, on one line.", rich_help_panel=OUTPUT)
]
JsonModel = Annotated[
    bool,
    typer.Option(
        "--json",
        help="The model folder and the content of data.json, on one line; with --dry-run the latter.",
        rich_help_panel=OUTPUT,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Also one row a group, usually a patient: slides with the same value in this column of the manifest.",
        rich_help_panel=OUTPUT,
    ),
]
GroupWeights = Annotated[
    Literal["equal", "tissue"],
    typer.Option(
        metavar="NAME",
        help="Weight of a slide in its group: equal, or tissue (its area).",
        rich_help_panel=OUTPUT,
    ),
]
