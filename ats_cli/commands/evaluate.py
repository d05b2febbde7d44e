"""`ats evaluate`: labelled slides in, how good a model is on them out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ats_cli.commands import options as o
from ats_cli.records import MAX_UNREADABLE, AtsError
from ats_cli.registry import DEFAULT_SAMPLER

if TYPE_CHECKING:
    from ats_cli.records import Prediction

EXAMPLES = """Examples:

ats evaluate labelled/ -m my-model -o figures

ats evaluate --manifest labels.csv -m my-model --sampler murthy --tiles 5,10,25,100 -o figures"""


def command(
    data: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with one subfolder a class, slides inside.", metavar="SLIDES", show_default=False
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Instead: a CSV with columns 'slide' and 'label', and perhaps 'group' (patient), 'split', 'mpp'.",
            rich_help_panel=o.SLIDES,
        ),
    ] = None,
    slides_root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the manifest's slides lie.", rich_help_panel=o.SLIDES),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only the manifest's rows of this split: train, val, test, or a name of the table's own. "
            "Without it, those of 'test' where there are any, else all.",
            rich_help_panel=o.SLIDES,
        ),
    ] = None,
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    max_unreadable: o.MaxUnreadable = MAX_UNREADABLE,
    model: o.Model = None,
    tiles: Annotated[
        str | None,
        typer.Option(
            "--tiles",
            "-n",
            metavar="INT[,INT...]",
            help="The budget, or several: 5,10,25,100. With --sampler murthy only the largest is read. "
            "Without it, the model's own.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = None,
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
        bool, typer.Option("--exhaustive", help="Read every position. Slow.", rich_help_panel=o.SAMPLING)
    ] = False,
    seed: o.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Also write metrics.json, predictions.csv and the plots.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that is not empty.", rich_help_panel=o.OUTPUT)
    ] = False,
    group_by: o.GroupBy = None,
    group_weights: o.GroupWeights = "equal",
    json: Annotated[
        bool, typer.Option("--json", help="What metrics.json holds, on one line.", rich_help_panel=o.OUTPUT)
    ] = False,
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
            min=1, help="Threads in each process. Without it, the cores are shared out.", rich_help_panel=o.RUNNING
        ),
    ] = None,
    slide_timeout: o.SlideTimeout = None,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Say how good a model is on labelled slides: figures with 95 % intervals, at one budget or at several.

    Exit status: 0 all done, 1 some slides failed (the figures are of the others), 2 the call is wrong, 130 interrupted.
    """
    from ats_cli.commands.settings import DEFAULTS, asked_for, draw_options_of, open_options_of

    one = None if tiles is None else 1  # several are not for a single run
    asked = asked_for(one, sampler, adaptive, confidence, exhaustive, seed, backend, plane, color_profile)
    if output is not None and output.exists() and (not output.is_dir() or (any(output.iterdir()) and not overwrite)):
        raise AtsError(f"{output}: already there and not empty. Give a new folder with -o, or --overwrite.")

    from ats_cli.commands.messages import Tally, announce_model, answer, say
    from ats_cli.commands.progress import run_progress, sum_up
    from ats_cli.commands.streams import console
    from ats_cli.inference.evaluate import at_budgets, labelled_sources
    from ats_cli.inference.job import ModelConfig
    from ats_cli.inference.run import processes_and_threads, slide_tasks, start_executor
    from ats_cli.results.budget_figures import Truth
    from ats_cli.results.evaluation import Evaluation, check_writable
    from ats_cli.results.evaluation_table import print_evaluation
    from ats_cli.results.groups import GroupBy
    from ats_cli.zoo import find_model

    folder = find_model(model)
    announce_model(folder, model, quiet)
    if folder.spec.task != "multi-class":
        raise AtsError(f"{folder.spec.name}: a {folder.spec.task} model. `ats evaluate` takes one class a slide.")
    settings = {**DEFAULTS, **asked}
    budgets = [None] if exhaustive else _budgets(tiles) if tiles else [folder.spec.tiles]
    labelled, rows = labelled_sources(data, manifest, mpp, folder.spec.classes, split, slides_root, group_by)
    if manifest is not None and not quiet:
        say(f"{manifest.name}: {rows}")
    sources = [one.source for one in labelled]
    truth = {one.source.slide_id: Truth(one.label, one.group) for one in labelled}
    by = None if group_by is None else GroupBy(group_by, group_weights)
    evaluation = Evaluation(truth, folder.spec.classes, budgets, by)
    if output is not None:
        check_writable(output)
    processes, threads = processes_and_threads(len(sources), processes, threads, timed=slide_timeout is not None)
    opening = open_options_of(settings)
    how = {"batch_size": batch_size, "threads": threads, "max_unreadable": max_unreadable}
    tally = Tally(len(sources))
    with start_executor(ModelConfig(folder, device, precision), processes, slide_timeout, debug) as executor:
        settings["precision"] = executor.precision

        with run_progress(len(sources) * len(budgets), quiet, executor.active_slides) as shown:

            def predict(budget: int | None) -> Iterator[Prediction]:
                drawing = draw_options_of({**settings, "tiles": budget}, **how)
                return executor.predict(slide_tasks(sources, opening, drawing), shown.on_progress)

            try:
                for budget, prediction in at_budgets(budgets, settings["sampler"], adaptive, predict, max_unreadable):
                    evaluation.add(budget, prediction)
                    shown.add(prediction)
                    if folder.spec.unit == "um" and not quiet:
                        tally.count_scale(prediction.slide_id, prediction.mpp, prediction.mpp_source)
            except KeyboardInterrupt:
                say("interrupted. Figures of some of the slides would mislead: nothing was written.")
                raise
    found = evaluation.figures(seed)
    tally.unfamiliar = 0 if quiet else len(evaluation.unfamiliar)
    for slide_id in truth:
        tally.count(evaluation.failed.get(slide_id))
    sum_up(shown, quiet)
    if found:
        said = evaluation.as_dict(found, {"name": folder.spec.name, "hash": folder.hash}, settings, seed)
        said["rows"] = rows.as_dict()
        if output is not None:
            evaluation.write(output, said, found)
        if json:
            from ats_cli.results.record import json_line

            answer(json_line(said))
        else:
            print_evaluation(console(), found, folder.spec.classes)
            if by is not None:
                print_evaluation(
                    console(), [at.by_group for at in found if at.by_group], folder.spec.classes, by.column
                )
    tally.finish()


def _budgets(text: str) -> list[int]:
    """The budgets that --tiles names, from the smallest. AtsError for what is no number above 0."""
    try:
        budgets = sorted({int(part) for part in text.split(",")})
    except ValueError:
        budgets = [0]
    if budgets[0] < 1:
        raise AtsError(f"--tiles {text}: not a budget, or several. Give numbers above 0 with commas, like 5,10,25.")
    return budgets
