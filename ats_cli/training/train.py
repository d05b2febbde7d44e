"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from ats_cli.nets.model import Model
from ats_cli.records import AtsError, ModelSpec
from ats_cli.training.data import LabelledSlide
from ats_cli.training.diary import Diary
from ats_cli.training.interrupts import stop_requests
from ats_cli.training.order import Order
from ats_cli.training.pretrained import load_matching, load_pretrained
from ats_cli.training.processes import add_up, add_up_gradients, average_statistics, launch
from ats_cli.training.rates import parameter_groups, set_modes, set_rates
from ats_cli.training.state import TrainingState
from ats_cli.training.step import Chance, look, see
from ats_cli.training.store import SlideStore
from ats_cli.training.task import chance_loss, in_units, losses, right, scale_of, slide_weights, targets
from ats_cli.training.validate import validate
from ats_cli.training.views import ViewCache
from ats_cli.training.watch import Watch


@dataclass(frozen=True)
class Progress:
    """One step of training, or a validation (then `validation` holds its figures). `effective`: effective positions.
    `notes`: what shows that the training is stuck, and what to change."""

    step: int
    steps: int
    loss: float
    accuracy: float
    mass: float
    validation: dict[str, float] | None = None
    effective: float = math.nan
    notes: list[str] = field(default_factory=list)


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Trained:
    """The best nets seen, in eval mode, and their figures. `interrupted`: by Ctrl-C, at `steps_done`."""

    nets: Model
    metrics: dict[str, Any]
    steps_done: int
    interrupted: bool


def train_model(
    spec: ModelSpec,
    train: list[LabelledSlide],
    held: list[LabelledSlide],
    seed: int = 0,
    memory: int = 2_000_000_000,
    device: str = "cpu",
    threads: int = 4,
    report: Report | None = None,
    *,
    devices: int = 1,
    precision: str = "fp32",
    parts: int = 1,
    cache: ViewCache | None = None,
    diary: Diary | None = None,
    resume: bool = False,
    choose: bool = True,
    init: Model | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Trained:
    """The loop. `train` and `held` (validation, may be empty) are labelled with classes of `spec`.

    Steps, not epochs or seconds, so that a busy machine gives the same model. For the first `freeze` share of them
    the attention net is frozen at its prior: early on it would only learn what makes the features vary least. The
    learning rate is constant, then falls linearly to 0 over the last 30 %.

    `devices`: processes that share each batch. `parts`: a process takes its share in so many parts, reading the tiles
    of one while the nets work on another; less memory, and the same gradient. `diary` writes checkpoints and history
    (of the first process); with `resume` the training goes on from its last checkpoint, and ends as it would have.
    It begins with random weights, but for the feature net's where the spec names pretrained ones, and for those that
    fit of `init`. Without `choose` the last nets are kept, not those that did best on `held`:
    figures on `held` are then of slides on which nothing was chosen.

    Ctrl-C and SIGTERM end it after the present step and its validation, in all processes after the same one, with a
    checkpoint. A second Ctrl-C is a KeyboardInterrupt at once; the last checkpoint is then of an earlier step.

    Raises AtsError where the loss or a gradient is no longer a number; the last checkpoint is of before.
    """
    recipe = spec.training
    fabric = launch(device, devices, precision)
    mine = slice(fabric.global_rank, None, fabric.world_size)
    if recipe.batch_size < fabric.world_size:
        raise AtsError(f"--batch-size {recipe.batch_size}: each of the {fabric.world_size} processes needs a slide.")
    nets = _fresh(spec, seed)
    if not (resume and diary and diary.last.exists()):
        load_pretrained(nets)
        if init is not None:
            load_matching(nets, init)
    nets = nets.to(fabric.device)
    optimiser = torch.optim.Adam(parameter_groups(nets, recipe), lr=recipe.lr, weight_decay=recipe.weight_decay)
    stepper: Any = fabric.setup_optimizers(optimiser)
    weights = slide_weights(spec, train)
    shares = weights / weights.sum() if recipe.balance == "draws" else None
    order, watch = Order(len(train), seed, shares), Watch(spec, chance_loss(spec, train))
    state = TrainingState(nets, optimiser, order, watch, fabric)
    if diary and resume:
        state.restore(diary)
    in_loss = np.ones(len(train)) if shares is not None else weights
    scale = scale_of(spec, train)
    clock, interrupted = time.perf_counter(), False

    with (
        SlideStore(spec, memory, threads, cache) as store,
        _own_chance(fabric),
        closing(diary) if diary else nullcontext(),
        stop_requests(lambda: tell(_waiting(diary))) as stop,
    ):
        if diary and fabric.is_global_zero:
            diary.begin(state.step)
        for step in range(state.step + 1, recipe.steps + 1):
            if state.out_of_patience(recipe):
                break
            torch.manual_seed(int(np.random.SeedSequence((seed, step, fabric.global_rank)).generate_state(1)[0]))
            set_rates(optimiser, recipe, step)
            set_modes(nets, recipe, step)
            batch, chances = state.order.next(recipe)
            store.expect([train[i] for i in state.order.left[: recipe.batch_size][mine]])
            optimiser.zero_grad(set_to_none=True)
            sums = torch.zeros(6, dtype=torch.float64)
            expected = torch.zeros(nets.features.width, device=fabric.device)
            for some, looked in _looks(nets, store, train, batch[mine], chances[mine], parts):
                seeing = see(nets, looked, state.centre, fabric.autocast)
                target = targets(spec, [train[i] for i in some], scale).to(fabric.device)
                loss = losses(spec, seeing.logits, target) * torch.from_numpy(in_loss[some]).to(seeing.logits)
                objective = loss - recipe.entropy_weight * seeing.entropy
                fabric.backward(objective.sum() / len(batch))
                hits = right(spec, seeing.logits, target)
                rows = (objective, loss, hits, seeing.mass, seeing.effective, seeing.evenness)
                sums += torch.stack([row.detach().cpu().double().sum() for row in rows]) / len(batch)
                expected += seeing.expected.sum(0) / len(batch)
            add_up_gradients(fabric, nets)
            goal, plain, accuracy, mass, effective, evenness = add_up(fabric, sums).tolist()
            norm = fabric.clip_gradients(nets, optimiser, max_norm=1.0, error_if_nonfinite=False)
            # With fp16 a gradient may overflow: the scaler then leaves the step out and tries a smaller scale.
            if not math.isfinite(goal) or not (precision == "fp16" or math.isfinite(float(norm or 0.0))):
                raise AtsError(_no_number(step, diary))

            stepper.step()
            average_statistics(fabric, nets)
            if recipe.centred:
                # Of earlier batches only: a centre that knows this sample would bias the gradient.
                state.move_centre(add_up(fabric, expected))
            state.step = step
            notes = state.watch.see(step, plain, effective, evenness)
            validation = None
            if held and (step % recipe.validate_every == 0 or step == recipe.steps):
                validation = validate(nets, store, held, scale=scale, fabric=fabric)
                state.keep_better(validation, choose)

            progress = Progress(step, recipe.steps, goal, accuracy, mass, validation, effective, notes)
            if report and fabric.is_global_zero:
                report(progress)
            interrupted = bool(add_up(fabric, torch.tensor(float(stop.made))))
            if diary and fabric.is_global_zero:
                diary.note(step, _row(progress, optimiser, time.perf_counter() - clock))
                if validation or interrupted or step % diary.every == 0 or step == recipe.steps:
                    state.write(diary)
            if interrupted:
                break
    if state.best_weights is not None:
        nets.load_state_dict(state.best_weights)
    in_units(nets, nets.head, scale)
    metrics = {
        "train_slides": len(train),
        "validation_slides": len(held),
        "seed": seed,
        "steps_done": state.step,
        "validation": state.best or None,
        "notes": list(state.watch.told.values()),
    }
    return Trained(nets.eval(), metrics, state.step, interrupted)


def _looks(
    nets: Model,
    store: SlideStore,
    train: list[LabelledSlide],
    batch: list[int],
    chances: list[Chance],
    parts: int,
) -> Iterator[tuple[list[int], Any]]:
    """The batch in parts, each looked at; while one is worked on, the tiles of the next are read."""
    spec = nets.spec
    size = -(-len(batch) // min(parts, len(batch)))

    def begin(start: int) -> tuple[list[int], Any]:
        some = batch[start : start + size]
        slides = [train[i] for i in some]
        sampler, crop = spec.training.sampler, spec.training.crop
        return some, look(nets, store, slides, spec.tiles, sampler, chances[start : start + size], crop)

    ahead = begin(0)
    for start in range(size, len(batch) + size, size):
        now = ahead
        if start < len(batch):
            ahead = begin(start)
        yield now


def _fresh(spec: ModelSpec, seed: int) -> Model:
    """New nets from the seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(spec)


def _row(progress: Progress, optimiser: torch.optim.Optimizer, seconds: float) -> dict[str, float]:
    """A step's row of the history."""
    row = {
        "seconds": round(seconds, 3),
        "lr": max((group["lr"] for group in optimiser.param_groups), default=0.0),
        "loss": progress.loss,
        "accuracy": progress.accuracy,
        "attention_mass": progress.mass,
        "effective_positions": progress.effective,
    }
    return row | {f"validation_{name}": value for name, value in (progress.validation or {}).items()}


def _no_number(step: int, diary: Diary | None) -> str:
    kept = f" {diary.last.parent} keeps the nets of before." if diary and diary.last.exists() else ""
    return f"the loss is no longer a number at step {step}. Lower --lr and train again.{kept}"


def _waiting(diary: Diary | None) -> str:
    end = "Ctrl-C again ends it at once"
    kept = f"{end}; --resume then goes on from the last checkpoint." if diary and diary.last.exists() else f"{end}."
    return f"the training ends after this step. {kept}"


@contextmanager
def _own_chance(fabric: Fabric) -> Iterator[None]:
    """Steps seed torch's generator by their number (dropout, say): afterwards it is as it was."""
    with torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []):
        yield
