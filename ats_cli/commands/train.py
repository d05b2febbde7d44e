"""`ats train`: labelled slides in, a model folder out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from ats_cli.commands.options import base as o
from ats_cli.errors import AtsError
from ats_cli.paths import user_path
from ats_cli.registry import ATTENTION_NETWORKS, FEATURE_NETWORKS, SAMPLERS, TASKS

EXAMPLES = """Examples:

ats train labelled/ -o my-model

ats train --manifest labels.csv -o my-model --steps 2000 --tiles 50"""


def command(
    data: Annotated[
        Path | None,
        typer.Argument(
            parser=user_path,
            help="A folder with one subfolder a class, slides inside.",
            metavar="DATA",
            show_default=False,
        ),
    ] = None,
    *,
    manifest: o.LabelledManifest = None,
    slides_root: o.SlidesRoot = None,
    na: o.Na = "auto",
    mpp: o.Mpp = None,
    backend: o.Backend = None,
    plane: o.Plane = None,
    color_profile: o.ColorProfile = None,
    roi: o.Roi = None,
    roi_class: o.RoiClass = None,
    roi_origin: o.RoiOrigin = None,
    validation: Annotated[
        float,
        typer.Option(
            "--val", metavar="FRACTION", min=0, max=0.9, help="The share of slides held out.", rich_help_panel=o.SLIDES
        ),
    ] = 0.2,
    val_tiles: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tiles of each slide in validation. Without it, as in training.", rich_help_panel=o.MODEL
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            metavar="K", help="Cross-validate in K folds first, then train on all slides.", rich_help_panel=o.SLIDES
        ),
    ] = 0,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Train without the slides that cannot be read.", rich_help_panel=o.SLIDES),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER|FILE",
            help="Networks and hyperparameters: model folder or .toml file. Without it, that of --init, else 'tissue'.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER", help="Start with the weights of this model, where they fit.", rich_help_panel=o.MODEL
        ),
    ] = None,
    attention_net: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=o.known(ATTENTION_NETWORKS),
            help=f"The attention network: {', '.join(ATTENTION_NETWORKS)} (pretrained). Without it, the recipe's.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NET[:ARCHITECTURE]",
            help=f"The feature network: {', '.join(FEATURE_NETWORKS)}; with an architecture if it has several, as "
            "in timm:resnet18 or timm:hf-hub:OWNER/NAME. lite0 is pretrained, without a connection. Without it, the "
            "recipe's.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|hub",
            help="Initial weights of the feature network: a safetensors file, or 'hub' for timm's own.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    lr_features: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="FACTOR",
            help="Factor on the learning rate for the feature network; 0 freezes it.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name. Without it, the folder's.", rich_help_panel=o.MODEL)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=o.known(TASKS),
            help=f"Kind of label: {', '.join(TASKS)}; several labels as 'a;b'. Without it, the recipe's.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    balance: Annotated[
        Literal["none", "weights", "draws"] | None,
        typer.Option(
            help="Give all classes the same weight: in the loss (weights), or by drawing rare ones more often (draws).",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps. Without it, the recipe's.", rich_help_panel=o.MODEL)
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Instead of --steps: how many times each slide is used.", rich_help_panel=o.MODEL),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="VALIDATIONS",
            min=0,
            help="Stop after so many validations without improvement. Without it, the recipe's; 0: never.",
            rich_help_panel=o.MODEL,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(min=0, help="Learning rate. Without it, the recipe's.", rich_help_panel=o.MODEL),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Slides a step. Without it, the recipe's.", rich_help_panel=o.MODEL)
    ] = None,
    tiles: o.Tiles = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=o.known(SAMPLERS),
            help=f"{o.SAMPLER_HELP} Without it, the recipe's.",
            rich_help_panel=o.SAMPLING,
        ),
    ] = None,
    seed: o.Seed = 0,
    output: o.ModelOutput = None,
    smoke_test: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Without DATA: test the installation by training on synthetic slides for a minute.",
            rich_help_panel=o.RUNNING,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the training in the folder from its last checkpoint: the same call with --resume.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = False,
    checkpoint_every: Annotated[
        int, typer.Option(metavar="STEPS", min=1, help="Steps between checkpoints.", rich_help_panel=o.OUTPUT)
    ] = 50,
    json: o.JsonModel = False,
    dry_run: o.DryRun = False,
    device: o.Device = "auto",
    devices: Annotated[
        int,
        typer.Option(min=1, help="Devices that share each batch, with one process each.", rich_help_panel=o.RUNNING),
    ] = 1,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option(help="Precision of the feature network; all else is fp32.", rich_help_panel=o.RUNNING),
    ] = "fp32",
    threads: o.Threads = 4,
    memory: Annotated[
        int, typer.Option(metavar="MB", min=0, help="Memory for cached views.", rich_help_panel=o.RUNNING)
    ] = 500,
    disk: Annotated[
        int,
        typer.Option(
            metavar="MB",
            min=0,
            help="Disk space for cached views in the model folder, during training.",
            rich_help_panel=o.RUNNING,
        ),
    ] = 10_000,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Train a model on labelled slides and write a model folder, for --model.

    Exit status: 0 trained, 1 training failed, 2 the call is wrong, 130 interrupted.
    """
    if not smoke_test and (data is None) == (manifest is None):
        raise AtsError("give either a folder with one subfolder a class, or --manifest labels.csv.")
    if not smoke_test and output is None and not dry_run:
        raise AtsError("name the model folder to write: -o my-model.")

    if steps is not None and epochs is not None:
        raise AtsError("--steps and --epochs both set the length of the training. Leave one of them out.")
    if epochs is not None and not 0 < epochs < math.inf:
        raise AtsError(f"--epochs {epochs:g}: out of range. Give a number above 0, like 20.")
    if folds == 1 or folds < 0:
        raise AtsError(f"--folds {folds}: cross-validation takes 2 folds or more.")
    import shlex
    import sys
    from contextlib import suppress

    from ats_cli.commands.common.data_summary import answer_model, answer_summary
    from ats_cli.commands.common.messages import answer, say
    from ats_cli.commands.common.training_display import training_display
    from ats_cli.commands.options.settings import open_options, region_options
    from ats_cli.inference import resolve_device
    from ats_cli.training import Callbacks, DataOptions, RecipeOptions, TrainOptions, train_folder
    from ats_cli.training.loop.processes import first_process
    from ats_cli.training.output import interruption_message

    if smoke_test:
        from ats_cli.training.smoke import smoke

        smoke_options = TrainOptions(device=resolve_device(device), devices=devices, precision=precision)
        with training_display(quiet) as on_progress:
            outcome = smoke(smoke_options, Callbacks(on_progress))
        if first_process():
            answer(outcome)
        return
    opening = open_options(backend, plane, color_profile)
    data_options = DataOptions(
        folder=data,
        manifest=manifest,
        slides_root=slides_root,
        mpp=mpp,
        roi=roi,
        region_options=region_options(roi_class, roi_origin),
        opening=opening,
        validation=validation,
        folds=folds,
        skip_bad=skip_bad,
        na=na,
    )
    overrides = {
        "steps": steps,
        "lr": lr,
        "batch_size": batch_size,
        "sampler": sampler,
        "tiles": tiles,
        "task": task,
        "balance": balance,
        "attention_net": attention_net,
        "net": features,
        "pretrained": pretrained,
        "lr_features": lr_features,
        "patience": patience,
        "validation_tiles": val_tiles,
    }
    recipe_options = RecipeOptions(recipe=recipe, init=init, name=name, overrides=overrides, epochs=epochs)
    train_options = TrainOptions(
        seed=seed,
        device=resolve_device(device),
        devices=devices,
        precision=precision,
        threads=threads,
        memory=memory * 1_000_000,
        disk=disk * 1_000_000,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
    if dry_run:
        from ats_cli.training.preparation import training_summary

        messages = Callbacks() if quiet else Callbacks(on_message=say)
        answer_summary(training_summary(data_options, recipe_options, train_options, messages), json)
        return
    assert output is not None
    trained = None
    with suppress(KeyboardInterrupt), training_display(quiet) as on_progress:
        trained = train_folder(
            output,
            data_options,
            recipe_options,
            train_options,
            command=shlex.join(["ats", *sys.argv[1:]]),
            callbacks=Callbacks(on_progress, (lambda _: None) if quiet or not first_process() else say),
        )
    if not first_process():
        return
    if trained is None or trained.interrupted:
        after = f" after step {trained.steps_done}" if trained else ""
        say(f"interrupted{after}. {interruption_message(output)} The same call with --resume continues it.")
        raise typer.Exit(130)
    answer_model(output, json)
