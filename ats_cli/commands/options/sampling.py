"""Options about the model, and about how tiles are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ats_cli.registry import DEFAULT_SAMPLER, NESTED_SAMPLER, SAMPLERS, Registry

MODEL, SAMPLING = "Model", "Sampling"
SAMPLER_HELP = f"How positions are drawn: {', '.join(SAMPLERS)}."


def known(registry: Registry[Any]) -> Callable[[str | None], str | None]:
    """Return a callback for an option that names a member of `registry`. It raises AtsError for an unknown name."""

    def check(name: str | None) -> str | None:
        return name if name is None else registry.check(name)

    return check


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FOLDER|hf://OWNER/NAME",
        help="A model folder, the name of a model that ships with ats, or one of the hub. Without it: the environment "
        "variable ATS_MODEL, else the one set with `ats models default`, else the demonstration model.",
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
        callback=known(SAMPLERS),
        help=f"{SAMPLER_HELP} Without it, {DEFAULT_SAMPLER}.",
        rich_help_panel=SAMPLING,
    ),
]
Adaptive = Annotated[
    bool,
    typer.Option(
        "--adaptive",
        help="Stop a slide as soon as its class is settled; --tiles is then the maximum.",
        rich_help_panel=SAMPLING,
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        metavar="FRACTION",
        help="With --adaptive: the probability that reading every position gives the same class. Without it, 0.95.",
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
