"""`ats evaluate`: labelled slides in, how good a model is on them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ats_cli.commands.options import base as o
from ats_cli.errors import AtsError
from ats_cli.records import MAX_UNREADABLE
from ats_cli.registry import TASKS

EXAMPLES = """Examples:

ats evaluate labelled/ -m my-model -o figures

ats evaluate --manifest labels.csv -m my-model --sampler murthy --tiles 5,10,25,100 -o figures"""


def command(
    data: o.LabelledFolder = None,
    manifest: o.LabelledManifest = None,
    slides_root: o.SlidesRoot = None,
    split: o.Split = None,
    na: o.Na = "auto",
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    roi: o.Roi = None,
    roi_class: o.RoiClass = None,
    roi_origin: o.RoiOrigin = None,
    max_unreadable: o.MaxUnreadable = MAX_UNREADABLE,
    model: o.Model = None,
    tiles: o.Budgets = None,
    sampler: o.Sampler = None,
    adaptive: o.Adaptive = False,
    confidence: o.Confidence = None,
    exhaustive: o.Exhaustive = False,
    seed: o.Seed = 0,
    output: o.FiguresOutput = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that is not empty.", rich_help_panel=o.OUTPUT)
    ] = False,
    group_by: o.GroupBy = None,
    group_weights: o.GroupWeights = "equal",
    json: o.JsonMetrics = False,
    dry_run: o.DryRun = False,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_size: o.BatchSize = None,
    processes: o.Processes = None,
    threads: o.ThreadsEach = None,
    slide_timeout: o.SlideTimeout = None,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure the accuracy of a model on labelled slides: figures with 95 % intervals, at one budget or several.

    Exit status: 0 all done, 1 some slides failed (the figures are of the others), 2 the call is wrong, 130 interrupted.
    """
    from ats_cli.commands.options.settings import budgets_of, opening_settings, sampling_settings

    # Budgets are not a setting of the run: several may be given.
    sampling = sampling_settings(None if tiles is None else 1, sampler, adaptive, confidence, exhaustive, seed)
    settings = sampling | opening_settings(backend, plane, color_profile, roi_class, roi_origin)
    if output is not None and output.exists() and (not output.is_dir() or (any(output.iterdir()) and not overwrite)):
        raise AtsError(f"{output}: exists and is not empty. Give a new folder with -o, or --overwrite.")
    from ats_cli.commands.common.data_summary import answer_summary, say_summary
    from ats_cli.commands.common.evaluation_output import print_figures
    from ats_cli.commands.common.messages import announce_model, say
    from ats_cli.commands.common.progress import run_progress
    from ats_cli.commands.common.tally import Tally
    from ats_cli.inference.evaluate import each_labelled_once, evaluation_summary, labelled_sources
    from ats_cli.inference.executors.executor import ExecutorOptions
    from ats_cli.inference.runs.evaluation_run import EvaluationRequest, EvaluationRun
    from ats_cli.results.groups import GroupBy
    from ats_cli.zoo import find_model

    folder = find_model(model)
    announce_model(folder, model, quiet)
    if not TASKS[folder.spec.task].single_label:
        raise AtsError(f"{folder.spec.name}: a {folder.spec.task} model. `ats evaluate` takes one class a slide.")
    budgets = (None,) if exhaustive else budgets_of(tiles) if tiles else ()
    classes = folder.spec.classes
    labelled, rows = each_labelled_once(
        *labelled_sources(data, manifest, mpp, classes, split, slides_root, group_by, na), threads or 4
    )
    summary = evaluation_summary(labelled, rows, classes, f"{(manifest or data or Path()).name}: {rows}")
    if dry_run:
        answer_summary(summary, json)
        return
    say_summary(summary, quiet)
    run = EvaluationRun(
        EvaluationRequest(
            labelled,
            rows,
            folder,
            settings,
            budgets,
            stops=adaptive,
            roi=roi,
            executor=ExecutorOptions(device, precision, processes, threads, slide_timeout, debug),
            max_unreadable=max_unreadable,
            batch_size=batch_size,
            group_by=(by := None if group_by is None else GroupBy(group_by, group_weights)),
            output=output,
        )
    )
    tally = Tally(len(labelled), quiet, uses_mpp=folder.spec.unit == "um")
    with run, run_progress(run.predictions, quiet, run.active_slides) as progress:
        try:
            for prediction in run.predict(progress.on_progress):
                progress.add(prediction)
                tally.count_scale(prediction.slide_id, prediction.provenance)
                tally.count_regions(prediction.slide_id, prediction.provenance.regions)
        except KeyboardInterrupt:
            say("interrupted. Figures of some of the slides would mislead: nothing was written.")
            raise
    tally.unfamiliar = len(run.unfamiliar)
    for slide in labelled:
        tally.count(run.failed.get(slide.source.slide_id))
    progress.end(quiet)
    figures, record = run.figures()
    if figures:
        print_figures(figures, record, folder.spec.classes, by, json)
    tally.finish()
