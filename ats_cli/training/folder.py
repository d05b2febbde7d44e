"""Labelled slides in, a model folder out: what is read, what is written, and how a training goes on."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ats_cli.inference.familiarise import add_familiarity
from ats_cli.records import AtsError, ModelSpec
from ats_cli.slides.find import stem
from ats_cli.slides.regions import regions_file
from ats_cli.training.card import model_card
from ats_cli.training.data import LabelledSlide, labelled_slides, labels_of, with_content
from ats_cli.training.diary import Diary
from ats_cli.training.output import VIEWS_FOLDER, claimed, fold_folder, refuse_full
from ats_cli.training.pretrained import resolved
from ats_cli.training.processes import computation, first_process
from ats_cli.training.settings import as_json, write_settings
from ats_cli.training.split import folds, split_off
from ats_cli.training.store import unreadable
from ats_cli.training.train import Report, Trained, train_model
from ats_cli.training.views import ViewCache
from ats_cli.zoo import load_model, save_model
from ats_cli.zoo.find import find_recipe
from ats_cli.zoo.folder import parse_spec

DEFAULT_RECIPE = "tissue"
MANY = 100  # slides, of which a person wants to know why nothing is to be seen yet
READING = ("backend", "plane", "color_profile")


def train_folder(
    *,
    data: Path | None,
    manifest: Path | None,
    recipe: str | None,
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
    init: str | None = None,
    slides_root: Path | None = None,
    number_of_folds: int = 0,
    skip_bad: bool = False,
    resume: bool = False,
    checkpoint_every: int = 50,
    devices: int = 1,
    precision: str = "fp32",
    parts: int = 1,
    disk: int = 10_000_000_000,
    roi: Path | None = None,
    reading: Mapping[str, Any] = {},
    epochs: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train by `recipe` (a shipped name or a folder) on labelled slides and write the model folder `output`.

    `overrides`: training keys of the recipe to replace (None values are ignored), `tiles`, the budget, `task`, and of
    the features `net` and `pretrained`. `init`: a model to begin with; it is the recipe where none is given.

    A folder that exists and is not empty is refused before anything is read, but with `resume`: then a training with
    the same settings goes on from its last checkpoint, or begins where there is none. Interrupted, what was best so
    far is written. `disk`: bytes of views that are kept on disk while training. `roi`: a GeoJSON file of regions, or a
    folder with one a slide; a manifest's own win. `reading`: further keywords of `open_slide`. `epochs`, instead of
    steps: how often each slide is learnt from. `tell` is given sentences.

    With `number_of_folds`, a model is first trained for each fold, in `output`/folds, and judged once, at its end, on
    slides that it never saw; the model written is then trained on all slides, and the folds' figures stand for it.

    Slides that cannot be read are an error that lists them, or left out with `skip_bad`.
    """
    if first_process() and not resume:
        refuse_full(output)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    base = find_recipe(recipe or init or DEFAULT_RECIPE).spec
    start = None if init is None else load_model(init).nets
    task = given.get("task", base.task)
    slides = [replace(slide, reading=reading) for slide in labelled_slides(data, manifest, mpp, slides_root, task)]
    if roi is not None:
        slides = _with_regions(slides, roi, tell)
    stratify = task == "multi-class"
    with claimed(output):
        cache = ViewCache(output / VIEWS_FOLDER, disk)
        spec = resolved(_spec_for(base, slides, name or output.resolve().name, given))
        if len(slides) > MANY:
            tell(f"opening {len(slides)} slides and reading their views, to see that all can be read.")
        bad = unreadable(spec, slides, threads, cache)
        slides = with_content(_without(slides, bad, skip_bad, spec, tell), threads)

        def into(folder: Path, sides: tuple[list[LabelledSlide], list[LabelledSlide]], choose: bool) -> Trained:
            own = spec if epochs is None else _of_epochs(spec, epochs, len(sides[0]))
            settings = as_json(
                {"seed": seed, "precision": precision, "choose": choose, "init": init, "recipe": asdict(own)}
                | {"reading": {name: str(reading[name]) if name in reading else None for name in READING}}
            )
            if first_process():
                write_settings(folder, settings, *sides, command, computation(device, devices, parts), tell)
            return train_model(
                own, *sides, seed, memory, device, threads, report,
                devices=devices, precision=precision, parts=parts, cache=cache, diary=Diary(folder, checkpoint_every),
                resume=resume, choose=choose, init=start, tell=tell,
            )  # fmt: skip

        judged: list[dict[str, float]] = []
        sides = split_off(slides, 0 if number_of_folds else validation, seed, stratify)
        if spec.training.patience and not (sides[1] or number_of_folds):
            raise AtsError("--patience needs validation slides. Keep some with --val, or leave it out.")
        if number_of_folds:
            sides = [s for s in slides if s.split != "test"], []
        for number, (train, held) in enumerate(folds(slides, number_of_folds, seed, stratify), 1):
            trained = into(fold_folder(output, number), (train, held), choose=False)
            if trained.interrupted:
                return trained
            judged.append(trained.metrics["validation"])
            tell(f"fold {number} of {number_of_folds}: {_said(judged[-1])}")
        trained = into(output, sides, choose=True)
        metrics = trained.metrics | _of_folds(judged) | ({"skipped": bad} if bad else {})
        trained = replace(trained, metrics=metrics)
        if trained.steps_done < trained.nets.spec.training.steps and not trained.interrupted:
            tell(f"stopped after {trained.steps_done} steps: {spec.training.patience} validations were no better.")
        if first_process() and (trained.steps_done or not trained.interrupted):
            save_model(output, trained.nets, metrics, model_card(trained.nets.spec, metrics, command))
        if first_process() and not trained.interrupted:
            add_familiarity(output, *sides, device, threads, reading)
            cache.delete()
    return trained


def _with_regions(slides: list[LabelledSlide], roi: Path, tell: Callable[[str], None]) -> list[LabelledSlide]:
    """The slides with their regions out of `roi`. AtsError where it has none for any."""
    if not roi.exists():
        raise AtsError(f"{roi}: no such file or folder. Give --roi a GeoJSON file, or a folder with one a slide.")
    found = [replace(slide, roi=slide.roi or regions_file(slide.path, roi)) for slide in slides]
    lacking = [slide.slide_id for slide in found if slide.roi is None]
    if len(lacking) == len(found):
        raise AtsError(
            f"{roi}: no GeoJSON file is called like a slide. {found[0].slide_id} would need "
            f"{stem(found[0].path.name)}.geojson."
        )
    if lacking:
        what = f"{len(lacking)} of {len(found)} slides have no regions in {roi}, like {lacking[0]}"
        tell(f"{what}: all of their tissue is drawn from.")
    return found


def _of_epochs(spec: ModelSpec, epochs: float, slides: int) -> ModelSpec:
    """With as many steps as it takes to learn so often from each slide."""
    steps = max(1, ceil(epochs * slides / spec.training.batch_size))
    return replace(spec, training=replace(spec.training, steps=steps))


def _without(
    slides: list[LabelledSlide],
    bad: dict[str, str],
    skip_bad: bool,
    spec: ModelSpec,
    tell: Callable[[str], None],
) -> list[LabelledSlide]:
    """The slides that can be read; the others are told, and are an error unless `skip_bad`."""
    if not bad:
        return slides
    if len(bad) == len(slides):
        slide_id, why = next(iter(bad.items()))
        raise AtsError(f"none of {len(slides)} slides can be read. The first, {slide_id}: {why}")
    listed = "".join(f"\n  {slide_id}: {why}" for slide_id, why in bad.items())
    message = f"{len(bad)} of {len(slides)} slides cannot be read:{listed}\n"
    if not skip_bad:
        raise AtsError(f"{message}Mend or remove them, or train without them: --skip-bad.")
    tell(f"{message}They are left out.")
    kept = [slide for slide in slides if slide.slide_id not in bad]
    gone = set(spec.classes) - {slide.label for slide in kept}
    if spec.task == "multi-class" and gone:
        raise AtsError(f"class {min(gone)}: none of its slides can be read. Mend them, or train without that class.")
    return kept


def _of_folds(judged: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation over the folds."""
    if not judged:
        return {}
    figures: dict[str, Any] = {"folds": len(judged)}
    for name in ("accuracy", "loss"):
        values = [fold[name] for fold in judged]
        figures |= {name: mean(values), f"{name}_sd_over_folds": stdev(values), f"{name}_by_fold": values}
    return {"cross_validation": figures}


def _said(figures: dict[str, float]) -> str:
    return f"accuracy {figures['accuracy']:.3f}, loss {figures['loss']:.3f}"


def _spec_for(recipe: ModelSpec, slides: list[LabelledSlide], name: str, overrides: dict[str, Any]) -> ModelSpec:
    """The recipe, for these classes, with what the user asked for."""
    given = dict(overrides)
    tiles = given.pop("tiles", recipe.tiles)
    task = given.pop("task", recipe.task)
    if task == "regression":
        classes: tuple[str, ...] = ("value",)
    elif task == "multi-label":
        classes = tuple(sorted({label for slide in slides for label in labels_of(slide.label)}))
    else:
        classes = tuple(sorted({slide.label for slide in slides}))
    features = replace(recipe.features, **{key: given.pop(key) for key in ("net", "pretrained") if key in given})
    training = replace(recipe.training, **given)
    # What users of the recipe's own model are told is about the slides that it was trained on.
    spec = replace(
        recipe, name=name, task=task, classes=classes, tiles=tiles, notice="", features=features, training=training
    )
    parse_spec(as_json(asdict(spec)), "the recipe, with what is asked for instead")
    return spec
