"""From labelled slides to a model folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ats_cli.nets.model import Model
from ats_cli.records import AtsError, ModelSpec
from ats_cli.sampling import slide_rng
from ats_cli.training.augment import NONE, draw_augmentation
from ats_cli.training.card import model_card
from ats_cli.training.data import LabelledSlide, labelled_slides, split_off
from ats_cli.training.step import see_batch
from ats_cli.training.store import SlideStore
from ats_cli.zoo import save_model
from ats_cli.zoo.find import find_recipe

# Share of the moving average of expected features that a step leaves as it was.
CENTRE_KEEPS = 0.9


@dataclass(frozen=True)
class Progress:
    """One step of training, or a validation (then `validation` holds its figures)."""

    step: int
    steps: int
    loss: float
    accuracy: float
    mass: float
    validation: dict[str, float] | None = None


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Trained:
    """The best nets seen, in eval mode, and their figures. `interrupted`: by Ctrl-C, at `steps_done`."""

    nets: Model
    metrics: dict[str, Any]
    steps_done: int
    interrupted: bool


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
) -> Trained:
    """Train by `recipe` (a shipped name or a folder) on labelled slides and write the model folder `output`.

    `overrides`: training keys of the recipe to replace (None values are ignored), and `tiles`, the budget. A folder
    that exists and is not empty is refused before anything is read. Interrupted, what was best so far is written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise AtsError(f"{output}: already there and not empty. Give a new folder with -o.")
    slides = labelled_slides(data, manifest, mpp)
    train, held = split_off(slides, validation, seed)
    spec = _spec_for(find_recipe(recipe).spec, slides, name or output.resolve().name, overrides or {})
    with _claimed(output):
        trained = train_model(spec, train, held, seed, memory, device, threads, report)
        if trained.steps_done or not trained.interrupted:
            card = model_card(trained.nets.spec, trained.metrics, command)
            save_model(output, trained.nets, trained.metrics, card)
    return trained


def train_model(
    spec: ModelSpec,
    train: list[LabelledSlide],
    held: list[LabelledSlide],
    seed: int = 0,
    memory: int = 2_000_000_000,
    device: str = "cpu",
    threads: int = 4,
    report: Report | None = None,
) -> Trained:
    """The loop. `train` and `held` (validation, may be empty) are labelled with classes of `spec`.

    Steps, not epochs or seconds, so that a busy machine gives the same model. For the first `freeze` share of them
    the attention net is frozen at its prior: early on it would only learn what makes the features vary least. The
    learning rate is constant, then falls linearly to 0 over the last 30 %.
    """
    recipe = spec.training
    rng = np.random.default_rng(seed)
    nets = _fresh(spec, seed).to(device).train()
    optimiser = torch.optim.Adam(nets.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (1 - step / recipe.steps) / 0.3))
    batches = _batches(train, recipe.batch_size, rng)
    best: dict[str, Any] = {}
    centre: torch.Tensor | None = None
    done, interrupted = 0, False
    with _closing(SlideStore(spec, memory, threads)) as store:
        try:
            for step in range(1, recipe.steps + 1):
                nets.attention.requires_grad_(step > recipe.freeze * recipe.steps)
                batch = next(batches)
                chances = _fresh_chances(batch, spec, rng)
                seeing = see_batch(nets, store, batch, spec.tiles, recipe.sampler, *chances, centre)
                if recipe.centred:
                    # Of earlier batches only: a centre that knows this sample would bias the gradient.
                    now = seeing.expected.mean(0)
                    centre = now if centre is None else CENTRE_KEEPS * centre + (1 - CENTRE_KEEPS) * now
                labels = _labels(batch, spec, nets)
                loss = functional.cross_entropy(seeing.logits, labels) - recipe.entropy_weight * seeing.entropy
                if not torch.isfinite(loss):
                    raise AtsError(f"the loss is no longer a number at step {step}. Lower --lr and train again.")
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                done = step
                accuracy = float((seeing.logits.argmax(1) == labels).float().mean())
                progress = Progress(step, recipe.steps, float(loss.detach()), accuracy, seeing.mass)
                if held and (step % recipe.validate_every == 0 or step == recipe.steps):
                    progress = replace(progress, validation=validate(nets, store, held))
                    best = _better(best, nets, progress)
                if report:
                    report(progress)
        except KeyboardInterrupt:
            interrupted = True
    if best:
        nets.load_state_dict(best.pop("weights"))
    metrics = {
        "train_slides": len(train),
        "validation_slides": len(held),
        "seed": seed,
        "steps_done": done,
        "validation": best or None,
    }
    return Trained(nets.eval(), metrics, done, interrupted)


def validate(
    nets: Model, store: SlideStore, slides: list[LabelledSlide], tiles: int | None = None, sampler: str | None = None
) -> dict[str, float]:
    """Accuracy, cross entropy and mean attention mass drawn, over slides. The draws are the same every time."""
    spec = nets.spec
    sampler = sampler or spec.training.sampler
    nets.eval()
    right, loss, mass = 0, 0.0, 0.0
    with torch.inference_mode():
        for start in range(0, len(slides), spec.training.batch_size):
            batch = slides[start : start + spec.training.batch_size]
            rngs = [slide_rng(0, slide.path.name) for slide in batch]
            seeing = see_batch(nets, store, batch, tiles or spec.tiles, sampler, [NONE] * len(batch), rngs)
            labels = _labels(batch, spec, nets)
            right += int((seeing.logits.argmax(1) == labels).sum())
            loss += float(functional.cross_entropy(seeing.logits, labels, reduction="sum"))
            mass += seeing.mass * len(batch)
    nets.train()
    return {"accuracy": right / len(slides), "loss": loss / len(slides), "attention_mass": mass / len(slides)}


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Make the folder before the long work, lest it turn out afterwards that it cannot be; a new one that stays
    empty goes again."""
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
        if new and not any(output.iterdir()):
            output.rmdir()


def _spec_for(recipe: ModelSpec, slides: list[LabelledSlide], name: str, overrides: dict[str, Any]) -> ModelSpec:
    """The recipe, for these classes, with what the user asked for."""
    given = {key: value for key, value in overrides.items() if value is not None}
    tiles = given.pop("tiles", recipe.tiles)
    classes = tuple(sorted({slide.label for slide in slides}))
    return replace(recipe, name=name, classes=classes, tiles=tiles, training=replace(recipe.training, **given))


def _fresh(spec: ModelSpec, seed: int) -> Model:
    """New nets from the seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(spec)


def _batches(slides: list[LabelledSlide], size: int, rng: np.random.Generator) -> Iterator[list[LabelledSlide]]:
    """Endless batches; every slide once before any comes again."""
    order: list[int] = []
    while True:
        while len(order) < size:
            order += rng.permutation(len(slides)).tolist()
        yield [slides[i] for i in order[:size]]
        order = order[size:]


def _fresh_chances(
    batch: list[LabelledSlide], spec: ModelSpec, rng: np.random.Generator
) -> tuple[list[Any], list[Any]]:
    """An augmentation and a generator for each slide of a batch."""
    return [draw_augmentation(spec.training, rng) for _ in batch], list(rng.spawn(len(batch)))


def _labels(batch: list[LabelledSlide], spec: ModelSpec, nets: Model) -> torch.Tensor:
    return torch.tensor([spec.classes.index(slide.label) for slide in batch], device=nets.head.weight.device)


def _better(best: dict[str, Any], nets: Model, progress: Progress) -> dict[str, Any]:
    """Keep the checkpoint of the lowest validation loss: accuracy on a few hundred slides moves by chance."""
    figures = progress.validation or {}
    if best and figures["loss"] >= best["loss"]:
        return best
    return {**figures, "step": progress.step, "weights": {k: v.clone() for k, v in nets.state_dict().items()}}


@contextmanager
def _closing(store: SlideStore) -> Iterator[SlideStore]:
    try:
        yield store
    finally:
        store.close()
