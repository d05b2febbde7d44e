"""The training loop."""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from ats_cli.errors import AtsError
from ats_cli.inference.compute.malloc_tuning import tune_malloc
from ats_cli.nets.model import Model
from ats_cli.records import ModelSpec
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.loop.interrupts import StopRequest, stop_requests
from ats_cli.training.loop.processes import add_up, launch
from ats_cli.training.loop.requirements import measure
from ats_cli.training.loop.state import TrainState
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.loop.validate import validate
from ats_cli.training.options import Callbacks, TrainOptions
from ats_cli.training.task import in_units
from ats_cli.training.term_range import set_term_range
from ats_cli.training.warmup.warmup import needs_warmup, warm_up


@dataclass(frozen=True)
class TrainingProgress:
    """Figures of one step.

    `loss`: the objective, with the entropy term. `mass`: share of the attention drawn. `effective`: effective
    positions. `validation`: figures of a validation after this step. `notes`: signs that the training is stuck, and
    what to change.
    """

    step: int
    steps: int
    loss: float
    accuracy: float
    mass: float
    validation: dict[str, float] | None = None
    effective: float = math.nan
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingResult:
    """The trained model, in eval mode, and its figures. `interrupted`: whether a signal ended it, at `steps_done`."""

    nets: Model
    metrics: dict[str, Any]
    steps_done: int
    interrupted: bool


def train_model(
    spec: ModelSpec,
    train: list[LabelledSlide],
    validation: list[LabelledSlide],
    options: TrainOptions = TrainOptions(),
    *,
    log: TrainingLog | None = None,
    cache: ViewCache | None = None,
    init: Model | None = None,
    callbacks: Callbacks = Callbacks(),
) -> TrainingResult:
    """Train a model by the recipe `spec.training`. `validation` may be empty. Labels are classes of `spec`.

    The length is in steps, not in epochs or seconds, so that a busy machine gives the same model. For the first
    `freeze` share of the steps the attention network stays at its prior: early gradients only reduce the variance of
    the features. The learning rate is constant, then falls linearly to 0 over the last 30 %.

    Weights start at random, except those of the feature network if the spec names pretrained weights, and those of
    `init` where name and shape match. `log`: where the first process writes checkpoints and history. `cache`: views
    on disk. A resumed training ends with the weights of an uninterrupted one, to the bit.

    Ctrl-C and SIGTERM end the training after the current step and its validation, in all processes after the same
    step, with a checkpoint; in a warm-up they raise KeyboardInterrupt after the current slide. A second Ctrl-C raises
    KeyboardInterrupt immediately.

    Raises AtsError if the loss or a gradient is not finite (the last checkpoint is of an earlier step), or if there
    are more processes than slides in a batch; SlideError if a slide cannot be read.
    """
    recipe = spec.training
    tune_malloc()
    fabric = launch(options.device, options.devices, options.precision)
    if recipe.batch_size < fabric.world_size:
        raise AtsError(f"--batch-size {recipe.batch_size}: each of the {fabric.world_size} processes needs a slide.")
    state = TrainState.start(spec, train, options, fabric, log, init)
    clock, interrupted = time.perf_counter(), False

    with (
        SlideStore(spec, options.memory, options.threads, cache) as store,
        _preserved_random_state(fabric),
        closing(log) if log else nullcontext(),
        stop_requests(lambda: callbacks.on_message(_stopping(log))) as stop,
    ):
        if log and fabric.is_global_zero:
            log.open(state.steps_done, state.best.get("step"))
        sample = validation_sample(validation, recipe.validation_slides, options.seed)
        if not state.steps_done:
            _before_first_step(state, store, sample, init, callbacks, stop)
        while state.steps_done < recipe.steps and not state.out_of_patience() and not interrupted:
            figures = state.step(store)
            step = state.steps_done
            notes = state.monitor.add_step(step, figures.loss, figures.effective, figures.evenness)
            scores = None
            if sample and (step % recipe.validate_every == 0 or step == recipe.steps):
                scores = validate(state.nets, store, sample, state.scale, fabric)
                state.keep_best(scores)
            progress = TrainingProgress(
                step, recipe.steps, figures.objective, figures.accuracy, figures.mass, scores, figures.effective, notes
            )
            if fabric.is_global_zero:
                callbacks.on_progress(progress)
            interrupted = bool(add_up(fabric, torch.tensor(float(stop.made))))
            if log and fabric.is_global_zero:
                log.add_row(step, _history_row(progress, state.learning_rate, time.perf_counter() - clock))
                if scores or interrupted or step % log.every == 0 or step == recipe.steps:
                    state.save()
        if state.best_weights is not None:
            state.nets.load_state_dict(state.best_weights)
        if len(sample) < len(validation) and not interrupted:
            state.best |= validate(state.nets, store, validation, state.scale, fabric)
        in_units(state.nets, state.nets.head, state.scale)
        set_term_range(state.nets, store, [] if interrupted else train)
    metrics = {
        "train_slides": len(train),
        "validation_slides": len(validation),
        "seed": options.seed,
        "steps_done": state.steps_done,
        "validation": state.best or None,
        "notes": list(state.monitor.reported.values()),
    }
    return TrainingResult(state.nets.eval(), metrics, state.steps_done, interrupted)


def _before_first_step(
    state: TrainState,
    store: SlideStore,
    validation: list[LabelledSlide],
    init: Model | None,
    callbacks: Callbacks,
    stop: StopRequest,
) -> None:
    """Warm up, if the recipe asks for it and it is not done, and say what a step needs."""
    if not state.warmed_up and needs_warmup(state.recipe, init is not None):
        state.save()  # with a checkpoint, the folder is kept after an interruption, and so is what was encoded
        warm_up(state, store, validation, callbacks, stop)
        state.save()
    if state.fabric.is_global_zero:
        callbacks.on_message(measure(state, store).sentence(state.recipe.steps))


def validation_sample(slides: list[LabelledSlide], number: int, seed: int) -> list[LabelledSlide]:
    """The slides of each validation during a training: all, or `number` of them, the same each time."""
    if not 0 < number < len(slides):
        return slides
    chosen = np.random.default_rng(seed).permutation(len(slides))[:number]
    return [slides[i] for i in sorted(chosen.tolist())]


def _history_row(progress: TrainingProgress, learning_rate: float, seconds: float) -> dict[str, float]:
    row = {
        "seconds": round(seconds, 3),
        "lr": learning_rate,
        "loss": progress.loss,
        "accuracy": progress.accuracy,
        "attention_mass": progress.mass,
        "effective_positions": progress.effective,
    }
    return row | {f"validation_{name}": value for name, value in (progress.validation or {}).items()}


def _stopping(log: TrainingLog | None) -> str:
    """Return the message after a first signal, in case the current step takes long."""
    text = "the training ends after this step. Ctrl-C again ends it immediately"
    resumable = log is not None and log.last.exists()
    return f"{text}; --resume then continues from the last checkpoint." if resumable else f"{text}."


@contextmanager
def _preserved_random_state(fabric: Fabric) -> Iterator[None]:
    """Restore torch's global generator afterwards: each step seeds it with its number, for dropout and the like."""
    with torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []):
        yield
