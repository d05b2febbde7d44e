"""The warm-up: a classifier of uniform tiles, whose gate the attention network then learns from the view alone.

Where evidence is rare, a few tiles of an untrained attention hardly hold any, and training stays at chance. A few
hundred uniform tiles a slide hold some. A gate on their features finds it; the attention network learns the logarithm
of that gate at these positions, and its first draws then find the evidence too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ats_cli.nets.attention import TrunkAttention
from ats_cli.nets.model import Model
from ats_cli.records import TrainingSpec
from ats_cli.training.dataset.augment import NONE
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.attention_source import AttentionSource, encoded_source, view_source
from ats_cli.training.loop.state import TrainState
from ats_cli.training.options import Callbacks
from ats_cli.training.task import accuracy, losses, targets
from ats_cli.training.warmup.gated_pooling import Gate, gated_mean
from ats_cli.training.warmup.uniform_tiles import UniformTiles, encode_uniform_tiles

WEIGHT_DECAY = 1e-4
EVERY = 20
"""Slides between two messages."""


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
    state: TrainState, store: SlideStore, validation: list[LabelledSlide], callbacks: Callbacks
) -> WarmupFigures:
    """Train head and attention network of `state.nets` on uniform tiles. Raises SlideError if one cannot be read."""
    nets, spec = state.nets, state.nets.spec
    recipe, seed = spec.training.warmup, state.options.seed
    augmentations = [state.copy(slide, 0) for slide in state.slides] + [NONE] * len(validation)
    number = len(augmentations)
    callbacks.on_message(f"warm-up: encoding {recipe.tiles} tiles of each of {number} slides, once.")

    def report(done: int) -> None:
        if done % EVERY == 0 or done == number:
            callbacks.on_message(f"warm-up: {done} of {number} slides encoded.")

    nets.eval()
    encoded = encode_uniform_tiles(nets, store, [*state.slides, *validation], augmentations, recipe.tiles, seed, report)
    train, held_out = encoded[: len(state.slides)], encoded[len(state.slides) :]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        gate = Gate(train[0].encoded.shape[1]).to(nets.head.weight.device)
    rng = np.random.default_rng((seed, 1))
    nets.requires_grad_(False)
    _train_classifier(state, gate, train, rng)
    figures = WarmupFigures(
        recipe.tiles,
        _figures(state, gate, train),
        _figures(state, gate, held_out) if held_out else None,
    )
    callbacks.on_message(figures.sentence())
    _train_attention(state, gate, store, train, rng)
    return figures


def _train_classifier(state: TrainState, gate: Gate, slides: list[UniformTiles], rng: np.random.Generator) -> None:
    """Train gate, projection and head on the labels of the slides, by their gated mean."""
    nets, spec = state.nets, state.nets.spec
    recipe = spec.training.warmup
    parts = [part for part in (nets.features.projection, nets.head, gate) if part is not None]
    parameters = [p.requires_grad_(True) for part in parts for p in part.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=WEIGHT_DECAY)
    for _ in range(recipe.steps):
        chosen = [slides[i] for i in rng.integers(len(slides), size=spec.training.batch_size)]
        loss = _losses(state, gate, chosen)[0].mean()
        optimiser.zero_grad()
        state.fabric.backward(loss)
        optimiser.step()


def _losses(state: TrainState, gate: Gate, slides: list[UniformTiles]) -> tuple[Tensor, Tensor]:
    """Losses and accuracies (B,) of the gated means of uniform tiles."""
    nets, spec = state.nets, state.nets.spec
    device = nets.head.weight.device
    means = []
    for tiles in slides:
        encoded = torch.from_numpy(tiles.encoded).to(device).float()
        means.append(gated_mean(nets.features.project(encoded), gate(encoded)))
    logits = nets.logits(torch.stack(means))
    target = targets(spec, [tiles.slide for tiles in slides], state.scale).to(device)
    return losses(spec, logits, target), accuracy(spec, logits, target)


def _figures(state: TrainState, gate: Gate, slides: list[UniformTiles]) -> tuple[float, float]:
    with torch.no_grad():
        found = [_losses(state, gate, [tiles]) for tiles in slides]
    return (
        float(torch.cat([loss for loss, _ in found]).double().mean()),
        float(torch.cat([correct for _, correct in found]).double().mean()),
    )


def _train_attention(
    state: TrainState, gate: Gate, store: SlideStore, slides: list[UniformTiles], rng: np.random.Generator
) -> None:
    """Train the attention network to give the logarithm of the gate, up to a constant, at the tiles' positions."""
    nets, recipe = state.nets, state.nets.spec.training.warmup
    parameters = [p.requires_grad_(True) for p in nets.attention.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=recipe.lr)
    nets.attention.train()
    for _ in range(recipe.attention_steps):
        tiles = slides[int(rng.integers(len(slides)))]
        with torch.no_grad():
            target = gate(torch.from_numpy(tiles.encoded).to(nets.head.weight.device).float()).log()
        logits = _source(nets, store, tiles).logits_at(tiles.positions)
        loss = (logits - target).var(correction=0)
        optimiser.zero_grad()
        state.fabric.backward(loss)
        optimiser.step()


def _source(nets: Model, store: SlideStore, tiles: UniformTiles) -> AttentionSource:
    if isinstance(nets.attention, TrunkAttention):
        return encoded_source(nets, store, tiles.slide, store.grid(tiles.slide), tiles.augmentation)
    return view_source(nets, store.views([tiles.slide])[0], tiles.augmentation)
