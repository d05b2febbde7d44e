"""Slides through the model: look, draw, read, estimate. The one path of training and of validation."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.nets.attention import UNIFORM_SHARE, normalise
from ats_cli.nets.attention_sampling import entropy
from ats_cli.nets.estimate import expected_features
from ats_cli.nets.model import Model, to_unit
from ats_cli.sampling import Draw, draw
from ats_cli.training.augment import Augmentation
from ats_cli.training.data import LabelledSlide
from ats_cli.training.store import Seen, SlideStore


@dataclass(frozen=True)
class Chance:
    """What chance decides of one slide in one step: how it is turned and coloured, and which tiles are drawn."""

    augmentation: Augmentation
    rng: np.random.Generator


@dataclass(frozen=True)
class Look:
    """Slides that were looked at: their attention, with its graph, and their tiles, which are being read."""

    chances: list[Chance]
    attentions: list[Tensor]
    draws: list[Draw]
    reading: list[Future[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Seeing:
    """Slides as the model sees them, one row each.

    `logits` (B, C), `expected` features (B, D). Of the attention: `entropy` (B,) in nats; `mass` (B,), the share that
    was drawn; `effective` (B,) positions, 1 / sum of squares; `evenness` (B,), these as a share of all.
    """

    logits: Tensor
    expected: Tensor
    entropy: Tensor
    mass: Tensor
    effective: Tensor
    evenness: Tensor


Autocast = Callable[[], AbstractContextManager[None]]


def look(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    tiles: int,
    sampler: str,
    chances: list[Chance],
    crop: int = 0,
) -> Look:
    """Look at slides, or at a square of `crop` pixels of each view, and draw `tiles` of each; reading them begins, in
    the store's threads."""
    seen = [s.crop(crop, c.rng) for s, c in zip(store.views(slides), chances, strict=True)]
    attentions = _attentions(nets, seen, [c.augmentation for c in chances], nets.head.weight.device)
    draws = [
        draw(attention.detach().cpu().double().numpy(), tiles, sampler, chance.rng)
        for attention, chance in zip(attentions, chances, strict=True)
    ]
    boxes = [s.boxes(d.positions) for s, d in zip(seen, draws, strict=True)]
    return Look(chances, attentions, draws, store.read(slides, boxes))


def see(nets: Model, looked: Look, centre: Tensor | None = None, autocast: Autocast = nullcontext) -> Seeing:
    """Logits of slides from their tiles; differentiable in both nets. For `centre` (D,), see `expected_features`.

    The feature net alone runs within `autocast`: attention, estimate and head are in float32 or better.
    """
    patches = [
        chance.augmentation.apply(to_unit(torch.from_numpy(reading.result())))
        for reading, chance in zip(looked.reading, looked.chances, strict=True)
    ]
    with autocast():
        features = nets.embed(torch.cat(patches).to(nets.head.weight.device))
    parts = torch.split(features, [len(p) for p in patches])
    estimates = [_estimate(f, a, d, centre) for f, a, d in zip(parts, looked.attentions, looked.draws, strict=True)]
    expected = torch.stack(estimates)
    # In float64, which not every device has.
    effective = torch.stack([1 / a.detach().cpu().double().square().sum() for a in looked.attentions])
    drawable = torch.tensor([int((a > 0).sum()) for a in looked.attentions])
    return Seeing(
        nets.logits(expected),
        expected.detach(),
        torch.stack([entropy(a[None])[0] for a in looked.attentions]),
        torch.tensor([d.attention.sum() for d in looked.draws]),
        effective,
        effective / drawable,
    )


def _attentions(nets: Model, seen: list[Seen], augmentations: list[Augmentation], device: torch.device) -> list[Tensor]:
    """Attention (rows, cols) of each slide, upright; views of one shape go through the net together."""
    views = [
        augmentation.apply(to_unit(torch.from_numpy(s.view)[None])[0])
        for s, augmentation in zip(seen, augmentations, strict=True)
    ]
    logits: list[Tensor] = [torch.empty(0)] * len(views)
    for shape in {view.shape for view in views}:
        members = [i for i, view in enumerate(views) if view.shape == shape]
        together = nets.attend_pixels(torch.stack([views[i] for i in members]).to(device))
        for i, one in zip(members, together, strict=True):
            # Turned back before it is pooled: a partial position lies at the upright view's end.
            logits[i] = nets.attention.pool(augmentations[i].undo(one)[None])[0]
    uniform = UNIFORM_SHARE if nets.training else 0.0
    return [
        normalise(one[None], torch.from_numpy(s.allowed)[None].to(device), uniform)[0]
        for one, s in zip(logits, seen, strict=True)
    ]


def _estimate(features: Tensor, attention: Tensor, drawn: Draw, centre: Tensor | None) -> Tensor:
    at = attention.flatten()[torch.from_numpy(drawn.positions).to(attention.device)]
    return expected_features(features, at, torch.from_numpy(drawn.weights).to(features), centre)
