"""What a training learns from: labelled slides, each once, that can be read, split, and in numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ats_cli.errors import AtsError
from ats_cli.nets.attention import fitting_stride
from ats_cli.number import parse_number
from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec
from ats_cli.registry import TASKS
from ats_cli.results.regions_in_doubt import regions_in_doubt, regions_outside
from ats_cli.slides.inputs.data_summary import DataSummary, SummaryRow, summarise
from ats_cli.slides.regions.region_files import refuse_without_regions, regions_of_slides
from ats_cli.spec_table import spec_table
from ats_cli.training.dataset.labelled import LabelledData, LabelledSlide, each_slide_once, labelled_data
from ats_cli.training.dataset.slide_store import SlideCheck, check_slides
from ats_cli.training.dataset.split import Split, folds, split_off
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.options import DEFAULT_RECIPE, Callbacks, DataOptions, RecipeOptions, TrainOptions
from ats_cli.training.pretrained import lasting_weights
from ats_cli.training.settings import as_json
from ats_cli.training.task import slide_weights
from ats_cli.zoo.find import find_recipe
from ats_cli.zoo.folder import parse_spec
from ats_cli.zoo.shipped_weights import ships

SLOW_CHECK = 100  # more slides than this take a while to check: the user is informed


@dataclass(frozen=True)
class Preparation:
    """The slides of a training. split: of the final model. folds: to cross-validate in. skipped: slide id -> why."""

    split: Split
    folds: list[Split]
    skipped: dict[str, str]
    summary: DataSummary


def read_slides(data: DataOptions, task: str, threads: int, callbacks: Callbacks) -> LabelledData:
    """Return the labelled slides, each once, with their regions. See `labelled_data` and `each_slide_once`."""
    found = labelled_data(data.folder, data.manifest, data.mpp, data.slides_root, task, data.opening, data.na)
    found = each_slide_once(found, threads)
    slides = [replace(slide, region_options=data.region_options) for slide in found.slides]
    if data.roi is None and all(slide.roi is None for slide in slides):
        refuse_without_regions(data.region_options)
    return replace(found, slides=slides if data.roi is None else _with_regions(slides, data.roi, callbacks))


def prepare(
    spec: ModelSpec,
    found: LabelledData,
    data: DataOptions,
    options: TrainOptions,
    callbacks: Callbacks,
    cache: ViewCache | None = None,
) -> Preparation:
    """Open the slides, read their views, and split them. Nothing is written but views into `cache`.

    Raises AtsError if slides cannot be read (unless `data.skip_bad`), or if a class would not be in every part.
    """
    slide_weights(spec, found.slides)  # a task that cannot be balanced is refused before the slides are read
    slides, seed, class_names = found.slides, options.seed, TASKS[spec.task].class_names
    if len(slides) > SLOW_CHECK:
        callbacks.on_message(f"opening {len(slides)} slides and reading their views, to see that all can be read.")
    check = check_slides(spec, slides, options.threads, cache)
    if check.in_doubt:
        callbacks.on_message(regions_in_doubt(check.in_doubt))
    if check.outside:
        callbacks.on_message(regions_outside(check.outside))
    slides = _readable(slides, check.unreadable, data.skip_bad, spec, callbacks)
    fold_splits = folds(slides, data.folds, seed, class_names)
    split: Split = [s for s in slides if s.split != "test"], []
    if not data.folds:
        split = split_off(slides, data.validation, seed, class_names)
    if spec.training.patience and not (split[1] or data.folds):
        raise AtsError("--patience needs validation slides. Keep some with --val, or leave it out.")
    summary = _summary(spec, replace(found, slides=slides), split, fold_splits, check)
    return Preparation(split, fold_splits, check.unreadable, summary)


def training_summary(
    data: DataOptions, recipe: RecipeOptions, options: TrainOptions, callbacks: Callbacks = Callbacks()
) -> DataSummary:
    """Return what a training would learn from, without training. Raises AtsError where the training would."""
    base, overrides = base_spec(recipe)
    found = read_slides(data, overrides.get("task", base.task), options.threads, callbacks)
    spec = spec_for(base, found.slides, recipe.name or base.name, overrides, callbacks)
    return prepare(spec, found, data, options, callbacks).summary


def base_spec(recipe: RecipeOptions) -> tuple[ModelSpec, dict[str, Any]]:
    """Return the spec of a recipe, and what is asked for instead of its values."""
    overrides = {key: value for key, value in recipe.overrides.items() if value is not None}
    if "pretrained" in overrides:
        overrides["pretrained"] = lasting_weights(overrides["pretrained"])
    return find_recipe(recipe.recipe or recipe.init or DEFAULT_RECIPE).spec, overrides


def _summary(
    spec: ModelSpec, found: LabelledData, split: Split, fold_splits: list[Split], check: SlideCheck
) -> DataSummary:
    task = TASKS[spec.task]
    part = {slide.slide_id: name for name, own in zip(("train", "val"), split, strict=True) for slide in own}
    rows = [
        SummaryRow(
            part.get(slide.slide_id, slide.split),
            task.class_names(slide.label),
            slide.group,
            parse_number(slide.label) if "value" in task.answer_fields else None,
        )
        for slide in found.slides
    ]
    unreadable = len(check.unreadable) - len(check.no_tissue)
    notes = found.notes.without("without tissue", len(check.no_tissue)).without("unreadable", unreadable)
    summary = summarise(rows, sorted({name for row in rows for name in row.classes}), notes, len(check.no_tissue))
    return replace(summary, folds=tuple(len(held) for _, held in fold_splits))


def spec_for(
    recipe: ModelSpec,
    slides: list[LabelledSlide],
    name: str,
    overrides: dict[str, Any],
    callbacks: Callbacks = Callbacks(),
) -> ModelSpec:
    """The recipe with the classes of `slides`, and with `overrides`. Raises ModelError if a value is out of bounds.

    With another attention network than the recipe's, positions are made as large as it needs them, with a message.
    """
    given = dict(overrides)
    tiles = given.pop("tiles", recipe.tiles)
    task = given.pop("task", recipe.task)
    classes = TASKS[task].classes([slide.label for slide in slides])
    attention = _attention_for(recipe, given.pop("attention_net", recipe.attention.net), callbacks)
    features = _features_for(recipe, {key: given.pop(key) for key in ("net", "pretrained") if key in given})
    if features.net != recipe.features.net and ships(features.net) and "lr_features" not in given:
        given["lr_features"] = 0.0
        callbacks.on_message(
            f"the pretrained features of {features.net} stay as they are. --lr-features 0.1 tunes them."
        )
    training = replace(recipe.training, **given)
    # The notice of the recipe's own model is about the slides that it was trained on: it is dropped.
    spec = replace(
        recipe,
        name=name,
        task=task,
        classes=classes,
        tiles=tiles,
        notice="",
        attention=attention,
        features=features,
        training=training,
    )
    parse_spec(as_json(spec_table(spec)), "the recipe, with what is asked for instead")
    return spec


def _attention_for(recipe: ModelSpec, net: str, callbacks: Callbacks) -> AttentionSpec:
    attention = replace(recipe.attention, net=net, trunk="")
    if net == recipe.attention.net:
        return attention
    stride = fitting_stride(attention)
    if stride != attention.stride:
        callbacks.on_message(
            f"the attention network {net} needs positions of {stride} x {stride} pixels of the view, not "
            f"{attention.stride} x {attention.stride} as in the recipe: attention.stride is {stride}."
        )
    return replace(attention, stride=stride)


def _features_for(recipe: ModelSpec, given: dict[str, Any]) -> FeatureSpec:
    """The recipe's features with what is given. Weights, options and colours of its net are not those of another."""
    features = replace(recipe.features, trunk="")
    if given.get("net", features.net) != features.net:
        features = replace(features, pretrained="", mean=(), std=(), options={})
    return replace(features, **given)


def _with_regions(slides: list[LabelledSlide], roi: Path, callbacks: Callbacks) -> list[LabelledSlide]:
    """The slides with their regions from `roi`. Raises AtsError if `roi` has none for any slide."""
    files = regions_of_slides([(slide.slide_id, slide.path) for slide in slides], roi)
    found = [replace(slide, roi=slide.roi or file) for slide, file in zip(slides, files, strict=True)]
    lacking = [slide.slide_id for slide in found if slide.roi is None]
    if lacking:
        what = f"{len(lacking)} of {len(found)} slides have no regions in {roi}, like {lacking[0]}"
        callbacks.on_message(f"{what}: all of their tissue is drawn from.")
    return found


def _readable(
    slides: list[LabelledSlide], bad: dict[str, str], skip_bad: bool, spec: ModelSpec, callbacks: Callbacks
) -> list[LabelledSlide]:
    """The slides that are not `bad` (slide id -> why). Raises AtsError if any is, unless `skip_bad`."""
    if not bad:
        return slides
    if len(bad) == len(slides):
        slide_id, why = next(iter(bad.items()))
        raise AtsError(f"none of {len(slides)} slides can be read. The first, {slide_id}: {why}")
    listed = "".join(f"\n  {slide_id}: {why}" for slide_id, why in bad.items())
    message = f"{len(bad)} of {len(slides)} slides cannot be read:{listed}\n"
    if not skip_bad:
        raise AtsError(f"{message}Fix or remove them, or train without them: --skip-bad.")
    callbacks.on_message(f"{message}They are left out.")
    readable = [slide for slide in slides if slide.slide_id not in bad]
    class_names = TASKS[spec.task].class_names
    gone = {name for slide in slides for name in class_names(slide.label)}
    gone -= {name for slide in readable for name in class_names(slide.label)}
    if gone:
        raise AtsError(f"class {min(gone)}: none of its slides can be read. Fix them, or train without that class.")
    return readable
