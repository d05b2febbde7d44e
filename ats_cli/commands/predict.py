"""`ats predict`: slides in, one prediction a slide out."""

from __future__ import annotations

from typing import Annotated

import typer

from ats_cli.commands import options as o

EXAMPLES = """Examples:

ats predict slide.svs

ats predict slides/ --model my-model --tiles 50 --json > predictions.jsonl"""


def command(
    slides: o.Slides = None,
    manifest: o.Manifest = None,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    model: o.Model = None,
    tiles: o.Tiles = None,
    sampler: Annotated[
        o.SamplerName,
        typer.Option(metavar="NAME", help=o.SAMPLER_HELP, rich_help_panel=o.SAMPLING),
    ] = "systematic",
    seed: o.Seed = 0,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object a slide, a line each, as each finishes.", rich_help_panel=o.OUTPUT
        ),
    ] = False,
    device: o.Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Patches in a forward pass.", rich_help_panel=o.RUNNING)] = 32,
    threads: o.Threads = 4,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Classify slides: look at all of each in low resolution, read a few tiles, say what it is.

    Prints one row a slide.

    Exit status: 0 all done, 1 some slides failed, 2 the call is wrong, 130 interrupted.
    """
    from ats_cli.commands.messages import Tally, announce_model, answer, answer_console, progress
    from ats_cli.commands.sources import gather

    sources = gather(slides, manifest, mpp)

    from ats_cli.inference import predict_many, resolve_device
    from ats_cli.results.record import json_line, prediction_dict
    from ats_cli.results.table import print_predictions
    from ats_cli.zoo import find_model, load_model

    folder = find_model(model)
    announce_model(folder, model, quiet)
    loaded = load_model(folder, device=resolve_device(device))

    tally = Tally(len(sources))
    finished = []
    interrupted = False
    with progress(len(sources), quiet, streams=json) as advance:
        try:
            for prediction in predict_many(
                sources,
                loaded,
                backend=backend,
                tiles=tiles,
                sampler=sampler,
                seed=seed,
                batch_size=batch_size,
                threads=threads,
            ):
                tally.count(prediction.error if prediction.status == "failed" else None)
                if json:
                    answer(json_line(prediction_dict(prediction)))
                else:
                    finished.append(prediction)
                advance()
        except KeyboardInterrupt:
            interrupted = True
    if finished:
        print_predictions(answer_console(), finished)
    if interrupted:
        raise tally.interrupted("What is printed above is complete.")
    tally.finish()
