"""`ats predict`: slides in, one prediction a slide out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ats_cli.commands import options as o
from ats_cli.records import AtsError

EXAMPLES = """Examples:

ats predict slide.svs

ats predict slides/ --model my-model --tiles 200 --adaptive --json > predictions.jsonl"""


def command(
    slides: o.Slides = None,
    manifest: o.Manifest = None,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    model: o.Model = None,
    tiles: o.Tiles = None,
    sampler: Annotated[
        o.SamplerName | None,
        typer.Option(metavar="NAME", help=f"{o.SAMPLER_HELP} Without it, pivotal.", rich_help_panel=o.SAMPLING),
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
            help="With --adaptive: how sure that reading every position would give the same class. [default: 0.95]",
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
    how = _how(tiles, sampler, adaptive, confidence, exhaustive)

    from ats_cli.commands.messages import Tally, announce_model, answer, answer_console, progress, say
    from ats_cli.commands.sources import gather

    sources = gather(slides, manifest, mpp)

    from ats_cli.inference import predict_many, resolve_device
    from ats_cli.results.record import json_line, prediction_dict
    from ats_cli.results.table import print_predictions
    from ats_cli.zoo import find_model, load_model

    folder = find_model(model)
    announce_model(folder, model, quiet)
    loaded = load_model(folder, device=resolve_device(device))

    def announce(done: int, all_tiles: int) -> None:
        if done == 0 and not quiet:
            say(f"reading all {all_tiles} tiles of a slide.")

    tally = Tally(len(sources))
    finished = []
    interrupted = False
    with progress(len(sources), quiet, streams=json) as advance:
        try:
            for prediction in predict_many(
                sources,
                loaded,
                backend=backend,
                seed=seed,
                batch_size=batch_size,
                threads=threads,
                progress=announce if exhaustive else None,
                **how,
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


def _how(
    tiles: int | None, sampler: str | None, adaptive: bool, confidence: float | None, exhaustive: bool
) -> dict[str, Any]:
    """The options of sampling as keywords of `predict_slide`. AtsError where two of them contradict each other."""
    if confidence is not None and not adaptive:
        raise AtsError("--confidence goes with --adaptive. Give both, or neither.")
    if confidence is not None and not 0 < confidence < 1:
        raise AtsError(f"--confidence {confidence:g}: not a confidence. Give a number between 0 and 1, like 0.95.")
    if adaptive and sampler not in (None, "murthy"):
        raise AtsError(f"--adaptive draws in race order (murthy), not by --sampler {sampler}. Leave one of them out.")
    if exhaustive and (adaptive or sampler is not None or tiles is not None):
        raise AtsError("--exhaustive reads every position. Leave out --tiles, --sampler and --adaptive.")
    return {
        "tiles": tiles,
        "sampler": sampler or "pivotal",
        "confidence": (confidence or 0.95) if adaptive else None,
        "exhaustive": exhaustive,
    }
