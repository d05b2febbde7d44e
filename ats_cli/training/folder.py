"""Labelled slides in, a model folder out: what is read, what is written, and how a training goes on."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ats_cli.records import AtsError, ModelSpec
from ats_cli.results.files import csv_bytes, write_whole
from ats_cli.results.run_facts import facts, now
from ats_cli.training.card import model_card
from ats_cli.training.data import LabelledSlide, labelled_slides, labels_of, split_off
from ats_cli.training.diary import Diary
from ats_cli.training.processes import first_process
from ats_cli.training.train import Report, Trained, train_model
from ats_cli.training.views import ViewCache
from ats_cli.zoo import save_model
from ats_cli.zoo.find import find_recipe

SETTINGS_FILE, SPLIT_FILE, VIEWS_FOLDER = "training.json", "split.csv", "views.zarr"


def train_folder(
    *,
    data: Path | None,
    manifest: Path | None,
    recipe: str,
    output: Path,
    name: str | None = None,
    overrides: dict[str, Any] | None = None,
    validation: float = 0.2,
    seed: int = 0,
    mpp: float | None = None,
    memory: int = 2_000_000_000,
    device: str = "cpu",
    threads: int = 4,
    command: str = "",
    report: Report | None = None,
    resume: bool = False,
    checkpoint_every: int = 50,
    devices: int = 1,
    precision: str = "fp32",
    parts: int = 1,
    disk: int = 10_000_000_000,
) -> Trained:
    """Train by `recipe` (a shipped name or a folder) on labelled slides and write the model folder `output`.

    `overrides`: training keys of the recipe to replace (None values are ignored), and `tiles`, the budget. A folder
    that exists and is not empty is refused before anything is read, but with `resume`: then a training with the same
    settings goes on from its last checkpoint, or begins where there is none. Interrupted, what was best so far is
    written. `disk`: bytes of views that are kept on disk while training.
    """
    if first_process() and not resume:  # which has claimed the folder for all, once the others are there
        _refuse_full(output)
    slides = labelled_slides(data, manifest, mpp)
    train, held = split_off(slides, validation, seed)
    spec = _spec_for(find_recipe(recipe).spec, slides, name or output.resolve().name, overrides or {})
    settings = _as_json({"seed": seed, "precision": precision, "recipe": asdict(spec)})
    with _claimed(output):
        if first_process():
            _write_down(output, settings, train, held, command, device)
        diary, cache = Diary(output, checkpoint_every), ViewCache(output / VIEWS_FOLDER, disk)
        trained = train_model(
            spec, train, held, seed, memory, device, threads, report,
            devices=devices, precision=precision, parts=parts, cache=cache, diary=diary, resume=resume,
        )  # fmt: skip
        if first_process() and (trained.steps_done or not trained.interrupted):
            card = model_card(trained.nets.spec, trained.metrics, command)
            save_model(output, trained.nets, trained.metrics, card)
        if first_process() and not trained.interrupted:
            cache.delete()
    return trained


def _spec_for(recipe: ModelSpec, slides: list[LabelledSlide], name: str, overrides: dict[str, Any]) -> ModelSpec:
    """The recipe, for these classes, with what the user asked for."""
    given = {key: value for key, value in overrides.items() if value is not None}
    tiles = given.pop("tiles", recipe.tiles)
    task = given.pop("task", recipe.task)
    if task == "regression":
        classes: tuple[str, ...] = ("value",)
    elif task == "multi-label":
        classes = tuple(sorted({label for slide in slides for label in labels_of(slide.label)}))
    else:
        classes = tuple(sorted({slide.label for slide in slides}))
    training = replace(recipe.training, **given)
    return replace(recipe, name=name, task=task, classes=classes, tiles=tiles, training=training)


def _write_down(
    output: Path,
    settings: dict[str, Any],
    train: list[LabelledSlide],
    held: list[LabelledSlide],
    command: str,
    device: str,
) -> None:
    """The settings, the split and the environment; those of a training that goes on must be the same."""
    columns = ("slide_id", "split", "label", "group", "weight", "mpp", "path")
    rows = [
        (s.slide_id, split, s.label, s.group, s.weight, s.mpp, s.path)
        for split, slides in (("train", train), ("val", held))
        for s in slides
    ]
    split = csv_bytes([columns, *rows])
    if (output / SETTINGS_FILE).exists():
        before = json.loads((output / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]
        differ = [key for key, value in _flat(settings).items() if _flat(before).get(key) != value]
        differ += ["the slides, or how they are split"] * ((output / SPLIT_FILE).read_bytes() != split)
        if differ:
            raise AtsError(
                f"{output}: this training was begun with another {differ[0]}. Go on with the same call and --resume, "
                "or train into a new folder."
            )
        return
    write_whole(output / SPLIT_FILE, split)
    environment = facts([], device) | {"command": command}
    text = json.dumps(
        {"started": now(), "settings": settings, "environment": environment}, indent=2, ensure_ascii=False
    )
    write_whole(output / SETTINGS_FILE, (text + "\n").encode())


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As they are when read again: lists for tuples."""
    return dict(json.loads(json.dumps(values)))


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """{"recipe": {"training": {"lr": 1}}} -> {"recipe.training.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def _refuse_full(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        hint = " To go on with the training in it, --resume." if (output / SETTINGS_FILE).is_file() else ""
        raise AtsError(f"{output}: already there and not empty. Give a new folder with -o.{hint}")


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Make the folder before the long work, lest it turn out afterwards that it cannot be; a new one goes again when
    the work ends before there is a checkpoint to go on from."""
    new = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise AtsError(f"{output}: cannot be written ({error.strerror}). Give another folder with -o.") from error
    try:
        yield
    finally:
        if new and not (output / "checkpoints").exists():
            shutil.rmtree(output, ignore_errors=True)
