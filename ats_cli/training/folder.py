"""From labelled slides to a model folder: check the slides, cross-validate, train, write the model."""

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ats_cli.inference.out_of_distribution import add_out_of_distribution
from ats_cli.nets.model import Model
from ats_cli.records import ModelSpec
from ats_cli.results.files import json_bytes, write_whole
from ats_cli.slides import OpenOptions
from ats_cli.slides.regions.region_files import files_digest
from ats_cli.spec_table import spec_table
from ats_cli.training.card import model_card
from ats_cli.training.dataset.split import Split
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.loop.processes import computation, first_process, torch_threads
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.options import Callbacks, DataOptions, RecipeOptions, TrainOptions
from ats_cli.training.output import VIEWS_FOLDER, claim_output, fold_folder, refuse_non_empty
from ats_cli.training.preparation import Preparation, base_spec, prepare, read_slides, spec_for
from ats_cli.training.pretrained import resolved
from ats_cli.training.settings import (
    STEPS,
    as_json,
    refuse_other_settings,
    threads_begun_with,
    write_settings,
)
from ats_cli.training.train import TrainingResult, train_model
from ats_cli.zoo import load_model, save_model
from ats_cli.zoo.find import find_model, lasting_name
from ats_cli.zoo.folder import DATA_FILE


def train_folder(
    output: Path,
    data: DataOptions,
    recipe: RecipeOptions = RecipeOptions(),
    options: TrainOptions = TrainOptions(),
    *,
    command: str = "",
    callbacks: Callbacks = Callbacks(),
) -> TrainingResult:
    """Train a model on labelled slides and write the model folder `output`. `command`: the command line, for the card.

    An `output` that is not empty is refused before anything is read. With `options.resume`, a training with the same
    settings continues from its last checkpoint, or begins if there is none. An interrupted training writes its best
    model so far.

    With `data.folds`, a model is first trained for each fold, in `output`/folds, and evaluated once, at its end, on the
    slides held out. The final model is then trained on all slides, and reported with the figures of the folds.

    Raises AtsError if the data, the recipe or `output` cannot be used, or if slides cannot be read (unless
    `data.skip_bad`); the message lists them. What was understood of the slides is said, and written into data.json.
    """
    if first_process() and not options.resume:
        refuse_non_empty(output)
    base, overrides = base_spec(recipe)
    init = None
    if recipe.init is not None:
        folder = find_model(recipe.init)
        init, recipe = load_model(folder).nets, replace(recipe, init=lasting_name(recipe.init, folder))
    found = read_slides(data, overrides.get("task", base.task), options.threads, callbacks)
    with claim_output(output, options.resume), torch_threads(threads_begun_with(output)):
        name = recipe.name or output.resolve().name
        spec = resolved(spec_for(base, found.slides, name, overrides, callbacks))
        if first_process():
            # Before the long reading of the views: a call that cannot be carried out does nothing.
            known = _settings(spec, data, recipe, options)
            refuse_other_settings(output, known, unknown=() if recipe.epochs is None else (STEPS,))
        cache = ViewCache(output / VIEWS_FOLDER, options.disk)
        prepared = prepare(spec, found, data, options, callbacks, cache)
        for line in prepared.summary.lines():
            callbacks.on_message(line)
        training = _Training(output, spec, data, recipe, options, cache, init, command, callbacks)
        result = training.run(prepared)
        if first_process() and not result.interrupted:
            cache.delete()
    return result


@dataclass(frozen=True)
class _Training:
    """The trainings of one call: of each fold and of the final model."""

    output: Path
    spec: ModelSpec
    data: DataOptions
    recipe: RecipeOptions
    options: TrainOptions
    cache: ViewCache
    init: Model | None
    command: str
    callbacks: Callbacks

    def run(self, prepared: Preparation) -> TrainingResult:
        """Cross-validate, train on all training slides, and write the model."""
        data, split, skipped = self.data, prepared.split, prepared.skipped
        parts = {fold_folder(self.output, number): fold for number, fold in enumerate(prepared.folds, 1)}
        # All are compared, the slides too, before the first step.
        for folder, of_folder in {self.output: split, **parts}.items():
            self.write_settings(folder, of_folder)
        if first_process():
            write_whole(self.output / DATA_FILE, json_bytes(prepared.summary.as_dict()))
        fold_figures: list[dict[str, float]] = []
        for number, (folder, fold) in enumerate(parts.items(), 1):
            result = self.train(folder, fold)
            if result.interrupted:
                return result
            figures = result.metrics["validation"]
            fold_figures.append(figures)
            self.callbacks.on_message(
                f"fold {number} of {data.folds}: accuracy {figures['accuracy']:.3f}, loss {figures['loss']:.3f}"
            )
        result = self.train(self.output, split)
        metrics = result.metrics | _summary_of_folds(fold_figures) | ({"skipped": skipped} if skipped else {})
        result = replace(result, metrics=metrics)
        self.write(result, split)
        return result

    def spec_of(self, split: Split) -> ModelSpec:
        """The spec with the number of steps on this split."""
        return self.spec if self.recipe.epochs is None else _with_epochs(self.spec, self.recipe.epochs, len(split[0]))

    def write_settings(self, folder: Path, split: Split) -> None:
        """Write the settings of one training into `folder`, or compare them with those that it was begun with."""
        if not first_process():
            return
        options, is_whole = self.options, folder == self.output
        settings = _settings(self.spec_of(split), self.data, self.recipe, options, is_whole)
        settings |= as_json({"regions": self._regions(split)})
        computed = computation(options.device, options.devices)
        on_message = self.callbacks.on_message if is_whole else Callbacks().on_message
        write_settings(folder, settings, split, self.command, computed, on_message)

    def train(self, folder: Path, split: Split) -> TrainingResult:
        """Train one model; its checkpoints and history are in `folder`. A fold keeps the model of its last step."""
        options = replace(self.options, choose_best=folder == self.output)
        log = TrainingLog(folder, options.checkpoint_every)
        return train_model(
            self.spec_of(split), *split, options, log=log, cache=self.cache, init=self.init, callbacks=self.callbacks
        )

    def _regions(self, split: Split) -> dict[str, Any]:
        """How files of regions are read, and a hash of them all, as settings of the training; None for no regions."""
        options, files = self.data.region_options, {s.slide_id: s.roi for part in split for s in part if s.roi}
        return {
            "class": list(options.classes) or None,
            "origin": None if options.origin == "auto" else options.origin,
            "content": files_digest(files) if files else None,
        }

    def write(self, result: TrainingResult, split: Split) -> None:
        """Write the model folder: weights, card, figures; after a complete training also the familiarity."""
        spec, interrupted = result.nets.spec, result.interrupted
        if result.steps_done < spec.training.steps and not interrupted:
            patience = spec.training.patience
            self.callbacks.on_message(
                f"stopped after {result.steps_done} steps: {patience} validations were no better."
            )
        if first_process() and (result.steps_done or not interrupted):
            save_model(self.output, result.nets, result.metrics, model_card(spec, result.metrics, self.command))
        if first_process() and not interrupted:
            add_out_of_distribution(self.output, *split, self.options.device, self.options.threads, self.data.opening)


def _settings(
    spec: ModelSpec, data: DataOptions, recipe: RecipeOptions, options: TrainOptions, is_whole: bool = True
) -> dict[str, Any]:
    """The settings that a resumed training must have, as JSON values. `is_whole`: not the training of a fold."""
    return as_json(
        {"seed": options.seed, "precision": options.precision, "choose": is_whole, "init": recipe.init}
        | {"recipe": spec_table(spec)}
        | {"reading": _changed_options(data.opening)}
        | ({"folds": data.folds or None} if is_whole else {})
    )


def _changed_options(opening: OpenOptions) -> dict[str, str | None]:
    """The options of opening as text, None for those that are at their default."""
    default = OpenOptions()
    return {
        name: None if (value := getattr(opening, name)) == getattr(default, name) else str(value)
        for name in ("backend", "plane", "color_profile")
    }


def _with_epochs(spec: ModelSpec, epochs: float, slides: int) -> ModelSpec:
    """The spec with as many steps as it takes to use each of `slides` slides `epochs` times."""
    steps = max(1, ceil(epochs * slides / spec.training.batch_size))
    return replace(spec, training=replace(spec.training, steps=steps))


def _summary_of_folds(fold_figures: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation over the folds."""
    if not fold_figures:
        return {}
    figures: dict[str, Any] = {"folds": len(fold_figures)}
    for name in ("accuracy", "loss"):
        values = [fold[name] for fold in fold_figures]
        figures |= {name: mean(values), f"{name}_sd_over_folds": stdev(values), f"{name}_by_fold": values}
    return {"cross_validation": figures}
