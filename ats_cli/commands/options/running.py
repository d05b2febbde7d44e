"""Options about how a command runs: device, processes, time limits, messages."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ats_cli.commands.options.slide import positive

RUNNING = "Running"

Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=RUNNING),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option(
        metavar="NAME",
        help="Precision of the feature network: auto, fp32, bf16 or fp16. auto is bf16 if the device supports it and "
        "the network is large enough to gain. It is the same for all slides of a run.",
        rich_help_panel=RUNNING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, help="Patches in a forward pass. Without it, 8 on a CPU, 64 on a GPU.", rich_help_panel=RUNNING
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads that read and decode.", rich_help_panel=RUNNING)]
ThreadsEach = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads that read, decode and compute, in each process. Without it, the cores are divided.",
        rich_help_panel=RUNNING,
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=1024,
        envvar="ATS_PROCESSES",
        help="Worker processes: if a slide crashes one, only that slide fails. 0: no workers, all in one process. "
        "Without it, none for one slide, else one per core, at most 8.",
        rich_help_panel=RUNNING,
    ),
]
SlideTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        callback=positive,
        help="Time limit for a slide, which fails after it. Without it, an hour in worker processes, and no limit with "
        "--exhaustive.",
        rich_help_panel=RUNNING,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="tcp://HOST:PORT",
        help="Predict on the workers of a Dask scheduler; results are written on this machine.",
        rich_help_panel=RUNNING,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Only the I-th of N parts of the slides, for job arrays. `ats merge` joins their runs.",
        rich_help_panel=RUNNING,
    ),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first slide that fails.", rich_help_panel=RUNNING)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on stderr.", rich_help_panel=RUNNING)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.", rich_help_panel=RUNNING)]
