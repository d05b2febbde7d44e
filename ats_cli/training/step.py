"""A batch of slides through the model: look, draw, read, estimate. The one path of training and of validation."""

from dataclasses import dataclass

import numpy as np
import torch
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
class Seeing:
    """A batch as the model sees it: class logits (B, C), expected features (B, D), mean entropy of attention, mean
    attention mass drawn."""

    logits: Tensor
    expected: Tensor
    entropy: Tensor
    mass: float


def see_batch(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    tiles: int,
    sampler: str,
    augmentations: list[Augmentation],
    rngs: list[np.random.Generator],
    centre: Tensor | None = None,
) -> Seeing:
    """Logits of a batch of slides from `tiles` tiles each; differentiable in both nets. For `centre` (D,), see
    `expected_features`."""
    device = nets.head.weight.device
    seen = store.views(slides)
    attentions = _attentions(nets, seen, augmentations, device)
    draws = [
        draw(attention.detach().cpu().double().numpy(), tiles, sampler, rng)
        for attention, rng in zip(attentions, rngs, strict=True)
    ]
    boxes = [s.geometry.boxes(d.positions, s.allowed.shape[1]) for s, d in zip(seen, draws, strict=True)]
    patches = [
        augmentation.apply(to_unit(torch.from_numpy(read)))
        for read, augmentation in zip(store.tiles(slides, boxes), augmentations, strict=True)
    ]
    features = torch.split(nets.embed(torch.cat(patches).to(device)), [len(p) for p in patches])
    estimates = [_estimate(f, a, d, centre) for f, a, d in zip(features, attentions, draws, strict=True)]
    expected = torch.stack(estimates)
    return Seeing(
        nets.logits(expected),
        expected.detach(),
        torch.stack([entropy(a[None])[0] for a in attentions]).mean(),
        float(np.mean([d.attention.sum() for d in draws])),
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
