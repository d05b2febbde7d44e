"""The warm-up: a classifier of uniform tiles, whose gate the attention network then learns from the view alone.

Where evidence is rare, a few tiles of an untrained attention hardly hold any, and training stays at chance. A few
hundred uniform tiles a slide hold some. A gate on their features finds it; the attention network learns the logarithm
of that gate at these positions, and its first draws then find the evidence too.
"""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ats_cli.nets.gate import Gate, gated_mean
from ats_cli.nets.model import Model
from ats_cli.records import TrainingSpec
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.attention_source import attention_source, views_of
from ats_cli.training.loop.interrupts import StopRequest
from ats_cli.training.loop.processes import take_from_first
from ats_cli.training.loop.state import TrainState
from ats_cli.training.options import Callbacks
from ats_cli.training.task import accuracy, losses, targets
from ats_cli.training.warmup.uniform_tiles import UniformTiles, encode_uniform_tiles

WEIGHT_DECAY = 0.1
HIDDEN = 64
"""Hidden units of the gate, for a model that has none."""
TIMED, EVERY = 3, 20
"""Slides after which the time is estimated, and between two further messages."""


@dataclass(frozen=True)
class WarmupFigures:
    """What uniform tiles alone say. `tiles` of each slide; mean `loss` and `accuracy` on slides of the training and, if
    there are any, of the validation."""

    tiles: int
    train: tuple[float, float]
    validation: tuple[float, float] | None

    def sentence(self) -> str:
        """Return the figures for the user."""
        what, (loss, correct) = ("validation", self.validation) if self.validation else ("training", self.train)
        return (
            f"warm-up: {self.tiles} tiles anywhere on each slide, without attention, give accuracy {correct:.3f} and "
            f"loss {loss:.3f} on the {what} slides."
        )


def needs_warmup(recipe: TrainingSpec, with_init: bool) -> bool:
    """Whether the recipe asks for a warm-up; "auto": if the features are frozen and no weights of a model are given."""
    if recipe.warmup.when == "auto":
        return recipe.lr_features == 0 and recipe.lr_head > 0 and recipe.lr_attention > 0 and not with_init
    return recipe.warmup.when == "always"


def warm_up(
    state: TrainState, store: SlideStore, validation: list[LabelledSlide], callbacks: Callbacks, stop: StopRequest
) -> WarmupFigures:
    """Train head and attention network of `state.nets` on uniform tiles.

    The best of several classifiers is that of the lowest loss on `validation`; where validation must stay unbiased, or
    there is none, on the slides trained on. Raises SlideError if a tile cannot be read, KeyboardInterrupt if the
    training is to stop.
    """
    nets, recipe, seed = state.nets, state.recipe.warmup, state.options.seed
    rng = np.random.default_rng((seed, 1))
    chosen = sorted(rng.permutation(len(state.slides))[: recipe.slides].tolist())
    slides = [state.slides[i] for i in chosen]
    on_slide = _EncodingReport(recipe.tiles, len(slides) + len(validation), callbacks, stop)
    nets.eval().requires_grad_(False)
    train = encode_uniform_tiles(nets, store, slides, seed, True, on_slide)
    held_out = encode_uniform_tiles(nets, store, validation, seed, False, on_slide)

    found: list[tuple[float, _Classifier, WarmupFigures]] = []
    for start in range(recipe.starts):
        classifier = _train_classifier(state, train, np.random.SeedSequence((seed, start)), stop)
        of_train = _figures(classifier, state, train)
        figures = WarmupFigures(recipe.tiles, of_train, _figures(classifier, state, held_out) if held_out else None)
        judged = figures.validation if state.options.choose_best and figures.validation else of_train
        found.append((judged[0], classifier, figures))
    _, classifier, figures = min(found, key=lambda one: one[0])
    callbacks.on_message(figures.sentence())
    nets.features.load_state_dict(classifier.features.state_dict())
    nets.head.load_state_dict(classifier.head.state_dict())
    if nets.gate is not None:
        nets.gate.load_state_dict(classifier.gate.state_dict())
    _train_attention(state, classifier.gate, store, train, rng, stop)
    take_from_first(state.fabric, nets)
    state.warmed_up = True
    return figures


@dataclass
class _EncodingReport:
    """Called after each slide that was encoded: says how long it takes, and ends the warm-up on request."""

    tiles: int
    slides: int
    callbacks: Callbacks
    stop: StopRequest
    done: int = 0

    def __post_init__(self) -> None:
        self.begin = time.perf_counter()

    def __call__(self) -> None:
        self.done += 1
        if self.done == min(TIMED, self.slides):
            seconds = (time.perf_counter() - self.begin) / self.done * (self.slides - self.done)
            length = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
            self.callbacks.on_message(
                f"warm-up: encoding {self.tiles} tiles of each of {self.slides} slides, once. It takes about {length} "
                "more."
            )
        elif self.done % EVERY == 0:
            self.callbacks.on_message(f"warm-up: {self.done} of {self.slides} slides encoded.")
        _end_on_request(self.stop)


def _end_on_request(stop: StopRequest) -> None:
    if stop.made:
        raise KeyboardInterrupt


class _Classifier(nn.Module):
    """The model's projection and head, and a gate, on encoded tiles."""

    def __init__(self, nets: Model) -> None:
        super().__init__()
        self.features, self.head = deepcopy(nets.features), deepcopy(nets.head)
        self.gate = Gate(nets.features.encoded_width, nets.spec.head.gate or HIDDEN)
        self.scale = nets.spec.head_scale
        for layer in (self.features.projection, self.head):
            if layer is not None:
                layer.reset_parameters()
                layer.requires_grad_(True)

    def forward(self, encoded: Tensor) -> Tensor:
        """Encoded tiles (n, W) -> logits (C,)."""
        logits: Tensor = self.head(self.scale * gated_mean(self.features.project(encoded), self.gate(encoded)))
        return logits


def _train_classifier(
    state: TrainState, slides: list[UniformTiles], seed: np.random.SeedSequence, stop: StopRequest
) -> _Classifier:
    """Train projection, head and gate from a random start on the labels of the slides."""
    recipe, rng = state.recipe, np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(int(seed.generate_state(1)[0]))
        classifier = _Classifier(state.nets).to(state.fabric.device)
    trained = [p for p in classifier.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.warmup.lr, weight_decay=WEIGHT_DECAY)
    for _ in range(recipe.warmup.steps):
        _end_on_request(stop)
        batch = [slides[i] for i in rng.integers(len(slides), size=recipe.batch_size)]
        loss = _losses(classifier, state, batch)[0].mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)  # in full precision: no scale of gradients
        optimiser.step()
    return classifier.requires_grad_(False)


def _losses(classifier: _Classifier, state: TrainState, slides: list[UniformTiles]) -> tuple[Tensor, Tensor]:
    """Losses and accuracies (B,) from uniform tiles."""
    spec, device = state.nets.spec, state.fabric.device
    logits = torch.stack([classifier(torch.from_numpy(tiles.encoded).to(device).float()) for tiles in slides])
    target = targets(spec, [tiles.slide for tiles in slides], state.scale).to(device)
    return losses(spec, logits, target), accuracy(spec, logits, target)


def _figures(classifier: _Classifier, state: TrainState, slides: list[UniformTiles]) -> tuple[float, float]:
    found = [_losses(classifier, state, [tiles]) for tiles in slides]
    loss, correct = (torch.cat(column).double().mean() for column in zip(*found, strict=True))
    return float(loss), float(correct)


def _train_attention(
    state: TrainState,
    gate: Gate,
    store: SlideStore,
    slides: list[UniformTiles],
    rng: np.random.Generator,
    stop: StopRequest,
) -> None:
    """Train the attention network to give the logarithm of the gate, up to a constant, at the tiles' positions."""
    nets = state.nets
    parameters = [p.requires_grad_(True) for p in nets.attention.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=state.recipe.lr)
    nets.attention.train()
    for _ in range(state.recipe.warmup.attention_steps):
        _end_on_request(stop)
        tiles = slides[int(rng.integers(len(slides)))]
        with torch.no_grad():
            target = gate(torch.from_numpy(tiles.encoded).to(nets.head.weight.device).float()).log()
        (view,) = views_of(nets, store, [tiles.slide])
        source = attention_source(nets, store, tiles.slide, view, state.copy(tiles.slide, 0))
        logits = source.logits_at(tiles.positions)
        loss = (logits - target).var(correction=0)
        optimiser.zero_grad()
        torch.autograd.backward(loss)  # in full precision: no scale of gradients
        optimiser.step()
