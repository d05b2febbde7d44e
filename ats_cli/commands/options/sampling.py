"""Options about the model, and about how tiles are drawn."""

from __future__ import annotations

from typing import Annotated

import typer

from ats_cli.registry import DEFAULT_SAMPLER, NESTED_SAMPLER, SAMPLERS, TASKS

MODEL, SAMPLING = "Model", "Sampling"
SAMPLER_HELP = f"How positions are drawn: {', '.join(SAMPLERS)}."


def check_sampler(name: str | None) -> str | None:
    """Return the name. Raises AtsError, with the nearest name, for an unknown sampler."""
    return name if name is None else SAMPLERS.check(name)


def check_task(name: str | None) -> str | None:
    """Return the name. Raises AtsError, with the nearest name, for an unknown task."""
    return name if name is None else TASKS.check(name)


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
Budgets = Annotated[
    str | None,
    typer.Option(
        "--tiles",
        "-n",
        metavar="INT[,INT...]",
        help=f"The budget, or several: 5,10,25,100. With --sampler {NESTED_SAMPLER} only the largest is read. "
        "Without it, the model's own.",
        rich_help_panel=SAMPLING,
    ),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=check_sampler,
        help=f"{SAMPLER_HELP} Without it, {DEFAULT_SAMPLER}.",
        rich_help_panel=SAMPLING,
    ),
]
Adaptive = Annotated[
    bool,
    typer.Option(
        "--adaptive",
        help="Stop a slide as soon as its class is settled; --tiles is then the most that is read.",
        rich_help_panel=SAMPLING,
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        metavar="FRACTION",
        help="With --adaptive: how sure that reading every position would give the same class. Without it, 0.95.",
        rich_help_panel=SAMPLING,
    ),
]
Exhaustive = Annotated[
    bool,
    typer.Option(
        "--exhaustive",
        help="Read every position: the exact value that the draws estimate. Slow.",
        rich_help_panel=SAMPLING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, help="Seed of the draw: the same seed and slide give the same tiles.", rich_help_panel=SAMPLING
    ),
]
RunSeed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of the draw: the same seed and slide give the same tiles. Without it, 0.",
        rich_help_panel=SAMPLING,
    ),
]
