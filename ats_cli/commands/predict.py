"""`ats predict`: slides in, one prediction a slide out."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from ats_cli.commands import options as o
from ats_cli.commands.settings import (
    DEFAULTS,
    asked_for,
    draw_options_of,
    open_options_of,
    refuse_together,
    shard_of,
)
from ats_cli.records import MAX_UNREADABLE
from ats_cli.registry import DEFAULT_SAMPLER, EXHAUSTIVE

EXAMPLES = """Examples:

ats predict slide.svs

ats predict slides/ --model my-model --tiles 200 --adaptive -o run"""


def command(
    slides: o.Slides = None,
    manifest: o.Manifest = None,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    max_unreadable: o.MaxUnreadable = MAX_UNREADABLE,
    download: o.Download = False,
    model: o.Model = None,
    tiles: o.Tiles = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=o.check_sampler,
            help=f"{o.SAMPLER_HELP} Without it, {DEFAULT_SAMPLER}.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = None,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive",
            help="Stop a slide as soon as its class is settled; --tiles is then the most that is read.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = False,
    confidence: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="With --adaptive: how sure that reading every position would give the same class. Without it, 0.95.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive",
            help="Read every position: the exact value that the draws estimate. Slow.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of the draw: the same seed and slide give the same tiles. Without it, 0.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Also write a run folder: predictions.csv, run.json, and the tiles of each slide. "
            "Slides that are done there are not predicted again.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Go on from a run drawn with murthy to more --tiles, reading only the new ones. "
            "What is not said is as it was, the slides too.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Take the slides that failed in the run again.", rich_help_panel=o.OUTPUT),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start the run over: what it had is lost.", rich_help_panel=o.OUTPUT)
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object a slide, a line each, as each finishes.", rich_help_panel=o.OUTPUT
        ),
    ] = False,
    group_by: o.GroupBy = None,
    group_weights: o.GroupWeights = "equal",
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Patches in a forward pass. Without it, 8 on a CPU, 64 on a GPU.", rich_help_panel=o.RUNNING
        ),
    ] = None,
    processes: o.Processes = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that read, decode and compute, in each process. Without it, the cores are shared out.",
            rich_help_panel=o.RUNNING,
        ),
    ] = None,
    slide_timeout: o.SlideTimeout = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT",
            help="Predict on the workers of a Dask scheduler; results are written here.",
            rich_help_panel=o.RUNNING,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Only the I-th of N parts of the slides, for job arrays. `ats merge` joins their runs.",
            rich_help_panel=o.RUNNING,
        ),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first slide that fails.", rich_help_panel=o.RUNNING)
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Classify slides: look at all of each in low resolution, read a few tiles, say what it is.

    Prints one row a slide; with -o also writes a run folder.

    Memory, for each process: about 1 GB with a small net, however many slides there are. By --sampler murthy or
    --adaptive it hardly grows with a slide. The default sampler holds the slide's attention map too, some 35 bytes a
    position and at most 2.1 GB; a slide of more than 60 million positions is refused, and needs murthy.

    Exit status: 0 all done, 1 some slides failed, 2 the call is wrong, 130 interrupted.
    """
    asked = asked_for(tiles, sampler, adaptive, confidence, exhaustive, seed, backend, plane, color_profile)

    import sys

    from ats_cli.commands.groups import GroupAnswer
    from ats_cli.commands.interrupts import held_back
    from ats_cli.commands.messages import Answer, Tally, announce_model, say
    from ats_cli.commands.progress import run_progress, sum_up
    from ats_cli.commands.runs import begin_run, changed_files, open_run, with_those_of
    from ats_cli.commands.sources import gather

    refuse_together(cluster, processes, shard)
    run = open_run(output, asked, extend=extend, retry_failed=retry_failed, overwrite=overwrite)
    sources = [] if extend and not slides and not manifest else gather(slides, manifest, mpp, group_by)
    settings = {**DEFAULTS, **asked}
    if run is not None and extend:
        sources = with_those_of(run, sources, mpp)
        settings = {**DEFAULTS, **run.settings, **asked}
        model = model or run.model["folder"]

    from ats_cli.inference.job import ModelConfig
    from ats_cli.inference.run import part, processes_and_threads, slide_tasks, start_executor
    from ats_cli.zoo import find_model

    folder = find_model(model)
    announce_model(folder, model, quiet)
    if settings["sampler"] != EXHAUSTIVE:
        settings["tiles"] = settings["tiles"] or folder.spec.tiles

    if shard is not None:
        sources = part(sources, *shard_of(shard))
    processes, threads = processes_and_threads(len(sources), processes, threads, timed=slide_timeout is not None)
    tally, answer = Tally(len(sources)), Answer(json, [source.slide_id for source in sources])
    groups = GroupAnswer(json, sources, group_by, group_weights, shard)
    interrupted = False
    if extend and run is not None and precision == "auto":
        precision = run.settings.get("precision", precision)
    with start_executor(ModelConfig(folder, device, precision), processes, slide_timeout, debug, cluster) as executor:
        kept = {}
        settings["precision"] = executor.precision
        if run is not None:
            flags = {"extend": extend, "retry_failed": retry_failed, "overwrite": overwrite}
            kept = begin_run(run, sources, settings, folder, executor.device, sys.argv[1:], shard, groups.by, **flags)
            if run.changed and not quiet:
                say(changed_files(run.changed))
        todo = [source for source in sources if source.slide_id not in kept]
        if len(todo) < len(sources) and not quiet:
            say(f"{len(sources) - len(todo)} of {len(sources)} slides are in {output} already.")
        drawing = draw_options_of(settings, batch_size=batch_size, threads=threads, max_unreadable=max_unreadable)
        with run_progress(len(sources), quiet, executor.active_slides, streams=json) as shown:

            def on_progress(slide_id: str, done: int, all_tiles: int) -> None:
                if settings["sampler"] == EXHAUSTIVE and done == 0 and not quiet:
                    say(f"{slide_id}: reading all {all_tiles} tiles.")
                shown.on_progress(slide_id, done, all_tiles)

            found = executor.predict(slide_tasks(todo, open_options_of(settings, download), drawing, run), on_progress)
            try:
                for prediction in chain((kept[s.slide_id] for s in sources if s.slide_id in kept), found):
                    with held_back():
                        if run is not None and prediction.slide_id not in kept:
                            run.add(prediction)
                        tally.count(prediction.error if prediction.status == "failed" else None)
                        tally.unfamiliar += bool(prediction.unfamiliar) and not quiet
                        if folder.spec.unit == "um" and not quiet:
                            tally.count_scale(prediction.slide_id, prediction.mpp, prediction.mpp_source)
                        answer.add(prediction)
                        groups.add(prediction)
                        shown.add(prediction, kept=prediction.slide_id in kept)
                    if fail_fast and tally.failed:
                        break
            except KeyboardInterrupt:
                interrupted = True
            finally:
                if run is not None:
                    with held_back():
                        run.end()
    answer.end()
    groups.end(quiet)
    sum_up(shown, quiet)
    if interrupted:
        goes_on = "goes on without --overwrite" if overwrite else "goes on"
        raise tally.interrupted(
            "What is printed above is complete." if run is None else f"{output} has them, and the same call {goes_on}."
        )
    tally.finish()
