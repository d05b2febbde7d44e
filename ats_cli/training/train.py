"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from ats_cli.nets.model import Model
from ats_cli.records import AtsError, ModelSpec, TrainingSpec
from ats_cli.sampling import slide_rng
from ats_cli.training.augment import NONE
from ats_cli.training.checkpoint import Tensors, optimiser_tensors, part, restore_optimiser
from ats_cli.training.data import LabelledSlide
from ats_cli.training.diary import Diary
from ats_cli.training.order import Order
from ats_cli.training.pretrained import load_matching, load_pretrained
from ats_cli.training.processes import add_up, add_up_gradients, launch
from ats_cli.training.step import Chance, look, see
from ats_cli.training.store import SlideStore
from ats_cli.training.task import chance_loss, in_units, losses, right, scale_of, slide_weights, targets
from ats_cli.training.views import ViewCache
from ats_cli.training.watch import Watch

# Share of the moving average of expected features that a step leaves as it was.
CENTRE_KEEPS = 0.9


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


@dataclass
class _Going:
    """A training on its way. A checkpoint holds all of it. `whole`: it is between two steps, not within one;
    `order_state` is of that moment, as the order may have drawn the next batch since."""

    nets: Model
    optimiser: torch.optim.Optimizer
    order: Order
    watch: Watch
    fabric: Fabric
    step: int = 0
    centre: Tensor | None = None
    best: dict[str, Any] = field(default_factory=dict)
    best_weights: Tensors | None = None
    order_state: dict[str, Any] = field(default_factory=dict)
    whole: bool = True


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
    optimiser = torch.optim.Adam(_groups(nets, recipe), lr=recipe.lr, weight_decay=recipe.weight_decay)
    stepper: Any = fabric.setup_optimizers(optimiser)
    weights = slide_weights(spec, train)
    shares = weights / weights.sum() if recipe.balance == "draws" else None
    going = _Going(nets, optimiser, Order(len(train), seed, shares), Watch(spec, chance_loss(spec, train)), fabric)
    if diary and resume:
        _restore(going, diary)
    if diary and fabric.is_global_zero:
        diary.begin(going.step)
    in_loss = np.ones(len(train)) if shares is not None else weights
    scale = scale_of(spec, train)
    clock, interrupted = time.perf_counter(), False

    with SlideStore(spec, memory, threads, cache) as store, _own_chance(fabric):
        try:
            for step in range(going.step + 1, recipe.steps + 1):
                if _run_out(going, recipe):
                    break
                torch.manual_seed(int(np.random.SeedSequence((seed, step, fabric.global_rank)).generate_state(1)[0]))
                _set_rates(optimiser, recipe, step)
                _set_modes(nets, recipe, step)
                batch, chances = going.order.next(recipe)
                store.expect([train[i] for i in going.order.left[: recipe.batch_size][mine]])
                optimiser.zero_grad(set_to_none=True)
                sums = torch.zeros(6, dtype=torch.float64)
                expected = torch.zeros(nets.features.width, device=fabric.device)
                for some, looked in _looks(nets, store, train, batch[mine], chances[mine], parts):
                    seeing = see(nets, looked, going.centre, fabric.autocast)
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

                going.whole = False
                stepper.step()
                if recipe.centred:
                    # Of earlier batches only: a centre that knows this sample would bias the gradient.
                    now, before = add_up(fabric, expected), going.centre
                    going.centre = now if before is None else CENTRE_KEEPS * before + (1 - CENTRE_KEEPS) * now
                going.step, going.order_state = step, going.order.state()
                notes = going.watch.see(step, plain, effective, evenness)
                validation = None
                if held and (step % recipe.validate_every == 0 or step == recipe.steps):
                    validation = validate(nets, store, held, scale=scale, fabric=fabric)
                    _keep_better(going, validation, choose)
                going.whole = True

                progress = Progress(step, recipe.steps, goal, accuracy, mass, validation, effective, notes)
                if diary and fabric.is_global_zero:
                    diary.note(step, _row(progress, optimiser, time.perf_counter() - clock))
                    if validation or step % diary.every == 0 or step == recipe.steps:
                        _checkpoint(going, diary)
                if report and fabric.is_global_zero:
                    report(progress)
        except KeyboardInterrupt:
            interrupted = True
            if diary and fabric.is_global_zero and going.step and going.whole:
                _checkpoint(going, diary)
        finally:
            if diary:
                diary.end()
    if going.best_weights is not None:
        nets.load_state_dict(going.best_weights)
    in_units(nets, nets.head, scale)
    metrics = {
        "train_slides": len(train),
        "validation_slides": len(held),
        "seed": seed,
        "steps_done": going.step,
        "validation": going.best or None,
        "notes": list(going.watch.told.values()),
    }
    return Trained(nets.eval(), metrics, going.step, interrupted)


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


def validate(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    tiles: int | None = None,
    sampler: str | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
    fabric: Fabric | None = None,
) -> dict[str, float]:
    """Accuracy, loss and mean attention mass drawn, over slides, which the processes share. The draws are the same
    every time."""
    spec = nets.spec
    sampler = sampler or spec.training.sampler
    mine = slides if fabric is None else slides[fabric.global_rank :: fabric.world_size]
    total = torch.zeros(3, dtype=torch.float64)
    nets.eval()
    with torch.inference_mode():
        for start in range(0, len(mine), spec.training.batch_size):
            batch = mine[start : start + spec.training.batch_size]
            chances = [Chance(NONE, slide_rng(0, slide.path.name)) for slide in batch]
            seeing = see(nets, look(nets, store, batch, tiles or spec.tiles, sampler, chances))
            target = targets(spec, batch, scale).to(seeing.logits.device)
            rows = (right(spec, seeing.logits, target), losses(spec, seeing.logits, target), seeing.mass)
            total += torch.stack([row.cpu().double().sum() for row in rows])
    accuracy, loss, mass = ((total if fabric is None else add_up(fabric, total)) / len(slides)).tolist()
    return {"accuracy": accuracy, "loss": loss, "attention_mass": mass}


def _fresh(spec: ModelSpec, seed: int) -> Model:
    """New nets from the seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(spec)


def _groups(nets: Model, recipe: TrainingSpec) -> list[dict[str, Any]]:
    """The parts that learn, each with its factor on the learning rate."""
    factors = {nets.attention: recipe.lr_attention, nets.features: recipe.lr_features, nets.head: recipe.lr_head}
    return [{"params": list(net.parameters()), "factor": factor} for net, factor in factors.items() if factor > 0]


def _set_rates(optimiser: torch.optim.Optimizer, recipe: TrainingSpec, step: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = recipe.lr * group["factor"] * min(1.0, (1 - (step - 1) / recipe.steps) / 0.3)


def _set_modes(nets: Model, recipe: TrainingSpec, step: int) -> None:
    """What learns in this step. A part with factor 0 is as in prediction, and so are the running statistics of
    pretrained feature nets: a patch's features then do not depend on those beside it."""
    nets.train()
    nets.attention.requires_grad_(recipe.lr_attention > 0 and step > recipe.freeze * recipe.steps)
    for net, factor in ((nets.features, recipe.lr_features), (nets.head, recipe.lr_head)):
        net.requires_grad_(factor > 0).train(factor > 0)
    if nets.spec.features.pretrained:
        for module in nets.features.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()


def _keep_better(going: _Going, figures: dict[str, float], choose: bool) -> None:
    """Keep the nets of the lowest validation loss: accuracy on a few hundred slides moves by chance."""
    if not choose or not going.best or figures["loss"] < going.best["loss"]:
        going.best = {**figures, "step": going.step}
        going.best_weights = {k: v.clone() for k, v in going.nets.state_dict().items()}


def _run_out(going: _Going, recipe: TrainingSpec) -> bool:
    """Whether `patience` validations since the best were no better."""
    waited = going.step - int(going.best.get("step", going.step))
    return 0 < recipe.patience * recipe.validate_every <= waited


def _checkpoint(going: _Going, diary: Diary) -> None:
    tensors = {f"nets.{name}": tensor for name, tensor in going.nets.state_dict().items()}
    tensors |= optimiser_tensors(going.optimiser)
    if going.centre is not None:
        tensors["centre"] = going.centre
    state = {
        "step": going.step,
        "order": going.order_state,
        "watch": going.watch.state(),
        "best": going.best,
        "precision": going.fabric.strategy.precision.state_dict(),
    }
    diary.checkpoint(tensors, state, going.best_weights)


def _restore(going: _Going, diary: Diary) -> None:
    """Go on from the last checkpoint, if there is one."""
    if not diary.last.exists():
        return
    tensors, state, best = diary.read()
    going.nets.load_state_dict(part(tensors, "nets"))
    restore_optimiser(going.optimiser, tensors)
    going.fabric.strategy.precision.load_state_dict(state["precision"])
    going.order.restore(state["order"])
    going.watch.restore(state["watch"])
    going.centre = tensors["centre"].to(going.fabric.device) if "centre" in tensors else None
    going.step, going.order_state, going.best, going.best_weights = state["step"], state["order"], state["best"], best


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


@contextmanager
def _own_chance(fabric: Fabric) -> Iterator[None]:
    """Steps seed torch's generator by their number (dropout, say): afterwards it is as it was."""
    with torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []):
        yield
