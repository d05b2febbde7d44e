"""One forward pass in training and in validation: attention, draw, tiles, estimate.

`draw_tiles` computes the attention without a gradient, draws positions and starts reading their tiles; `forward_batch`
waits for the tiles and gives logits, with the attention's gradient from crops around the drawn positions. In between,
another part of the batch can be processed. Nothing is kept of a slide but its view and its drawn tiles.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.nets.attention_crops import entropy_with_gradient, estimate_of_two_draws, weights_with_gradient
from ats_cli.nets.gate import gated_mean
from ats_cli.nets.model import Model, to_unit
from ats_cli.sampling import Draw, draw
from ats_cli.training.dataset.augment import Augmentation
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.attention_source import AttentionSource, attention_source, views_of
from ats_cli.training.loop.frozen_features import BATCH, Autocast, encode_frozen, is_frozen
from ats_cli.training.loop.full_attention import FullAttention, full_attention

PATCH_PIXELS = 1_500_000
"""Pixels of patches processed together: their activations are most of a step's memory."""


@dataclass(frozen=True)
class SlideRandomness:
    """The random part of one slide in one step: its augmentation, and the generator of its crop and its draws."""

    augmentation: Augmentation
    rng: np.random.Generator


@dataclass(frozen=True)
class DrawnSlide:
    """One slide whose tiles are drawn. `patches`: (n, p, p, 3) uint8, which threads are reading. `second`: another draw
    from the same attention, of which no tile is read, or None."""

    augmentation: Augmentation
    source: AttentionSource
    attention: FullAttention
    draw: Draw
    second: Draw | None
    patches: Future[NDArray[np.uint8]]


@dataclass(frozen=True)
class BatchOutput:
    """The model's output, one row a slide.

    `logits` (B, C), and `ungated` (B, C), those of the estimate without the gate; None for a model without one.
    `expected` features (B, D), without the gate and without a graph. Of the attention: `entropy` (B,) in nats; `mass`
    (B,), the share that was drawn; `effective` (B,) positions, 1 / sum of squares; `evenness` (B,), `effective` as a
    share of the positions that may be drawn.
    """

    logits: Tensor
    ungated: Tensor | None
    expected: Tensor
    entropy: Tensor
    mass: Tensor
    effective: Tensor
    evenness: Tensor


def draw_tiles(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    randomness: list[SlideRandomness],
    *,
    tiles: int = 0,
    crop: int = 0,
    autocast: Autocast = nullcontext,
) -> list[DrawnSlide]:
    """Compute attention, draw `tiles` positions of each slide with the recipe's sampler, and start reading tiles.

    `tiles`: 0 for `spec.tiles`. `crop`: attend to a random square of so many pixels of each view; 0: to all of it. The
    attention is computed within `autocast`; draw and weights come from what was computed. Raises SlideError if a view
    cannot be read.
    """
    spec = nets.spec
    number, sampler, second_draw = tiles or spec.tiles, spec.training.sampler, spec.training.second_draw
    views = [view.crop(crop, r.rng) for view, r in zip(views_of(nets, store, slides), randomness, strict=True)]
    sources = [
        attention_source(nets, store, slide, view, r.augmentation)
        for slide, view, r in zip(slides, views, randomness, strict=True)
    ]
    drawn = []
    for view, source, r in zip(views, sources, randomness, strict=True):
        with autocast():
            logits = source.all_logits()
        attention = full_attention(logits, view.allowed, nets.training)
        first = draw(attention.values, number, sampler, r.rng)
        second = draw(attention.values, number, sampler, r.rng) if second_draw and nets.training else None
        drawn.append((attention.without_values(), first, second))
    boxes = [view.boxes(first.positions) for view, (_, first, _) in zip(views, drawn, strict=True)]
    patches = store.read_tiles(slides, boxes)
    return [
        DrawnSlide(r.augmentation, source, *own, tile_patches)
        for r, source, own, tile_patches in zip(randomness, sources, drawn, patches, strict=True)
    ]


def draw_parts(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    randomness: list[SlideRandomness],
    autocast: Autocast = nullcontext,
) -> Iterator[tuple[slice, list[DrawnSlide]]]:
    """Draw the tiles of a batch in parts, one ahead: its tiles are read while the caller processes another.

    A part has as many slides as `PATCH_PIXELS` allows, so that a batch of any size needs the memory of one part. The
    slice is that of the part in `slides`.
    """
    spec = nets.spec
    size = part_size(spec.tiles, spec.features.patch_size)

    def draw_part(start: int) -> tuple[slice, list[DrawnSlide]]:
        part = slice(start, start + size)
        return part, draw_tiles(nets, store, slides[part], randomness[part], crop=spec.training.crop, autocast=autocast)

    following = draw_part(0)
    for start in range(size, len(slides) + size, size):
        current = following
        if start < len(slides):
            following = draw_part(start)
        yield current


def part_size(tiles: int, patch_size: int) -> int:
    """Slides whose patches are processed together."""
    return max(1, PATCH_PIXELS // (tiles * patch_size**2))


def forward_batch(
    nets: Model, batch: list[DrawnSlide], centre: Tensor | None = None, autocast: Autocast = nullcontext
) -> BatchOutput:
    """Compute logits from the drawn tiles; differentiable in both networks.

    `centre` (D,): of the gradient about a second draw, see `estimate_of_two_draws`; None for 0. Only the feature
    network runs within `autocast`: attention, estimate and head are in float32 or better. Raises SlideError if a tile
    cannot be read.
    """
    features, gates = embed(nets, patches_of(batch), autocast)
    drawn = [len(slide.draw.positions) for slide in batch]
    by_slide = zip(batch, torch.split(features, drawn), torch.split(gates, drawn), strict=True)
    estimates = [_estimate(nets, slide, own, gate, centre) for slide, own, gate in by_slide]
    expected, gated = (torch.stack([getattr(one, name) for one in estimates]) for name in ("plain", "gated"))
    plain = nets.logits(expected)
    return BatchOutput(
        plain if nets.gate is None else nets.logits(gated),
        None if nets.gate is None else plain,
        expected.detach(),
        torch.stack([one.entropy for one in estimates]),
        torch.tensor([slide.draw.attention.sum() for slide in batch]),
        torch.tensor([slide.attention.effective for slide in batch]),
        torch.tensor([slide.attention.effective / slide.attention.positions for slide in batch]),
    )


def patches_of(batch: list[DrawnSlide]) -> Tensor:
    """Augmented patches (n, 3, p, p) in 0..1 of the drawn tiles. Raises SlideError if one cannot be read."""
    return torch.cat([s.augmentation.apply(to_unit(torch.from_numpy(s.patches.result()))) for s in batch])


def embed(nets: Model, patches: Tensor, autocast: Autocast = nullcontext) -> tuple[Tensor, Tensor]:
    """Features (n, D) and gates (n,) of patches (n, 3, p, p) in 0..1."""
    if is_frozen(nets):
        encoded = encode_frozen(nets, torch.split(patches, BATCH), autocast)
        return nets.features.project(encoded), nets.gates(encoded)
    with autocast():
        encoded = nets.encode_patches(patches.contiguous(memory_format=torch.channels_last).to(nets.head.weight.device))
        return nets.features.project(encoded), nets.gates(encoded)


class _Estimate(NamedTuple):
    """Expected features (D,), without and with the gate, and entropy ()."""

    plain: Tensor
    gated: Tensor
    entropy: Tensor


def _estimate(nets: Model, slide: DrawnSlide, features: Tensor, gates: Tensor, centre: Tensor | None) -> _Estimate:
    """The estimates from a slide's tiles, with the attention's gradient where the attention is trained."""
    drawn, attention = slide.draw, slide.attention
    weights = torch.from_numpy(drawn.weights).to(features)
    entropy = torch.tensor(attention.entropy).to(features)
    if not (torch.is_grad_enabled() and any(p.requires_grad for p in nets.attention.parameters())):
        return _Estimate((weights[:, None] * features).sum(0), gated_mean(features, weights * gates), entropy)
    logits = slide.source.logits_at(drawn.positions)
    ratio = torch.from_numpy(attention.softmax_share(drawn.attention)).to(features)
    entropy = entropy_with_gradient(
        attention.entropy,
        weights,
        logits,
        ratio,
        torch.from_numpy(np.log(drawn.attention)).to(features),
        attention.mean_log,
    )
    pooled = weights_with_gradient(weights, logits, ratio, attention.uniform, drawn.own_mean_factor)
    gated = gated_mean(features, pooled * gates)
    if slide.second is None:
        return _Estimate((pooled[:, None] * features).sum(0), gated, entropy)
    second = slide.second
    others = slide.source.logits_at(second.positions)
    shares = torch.from_numpy(second.weights * attention.softmax_share(second.attention)).to(features)
    change = (shares * (others - others.detach())).sum()
    middle = torch.zeros_like(features[0]) if centre is None else centre
    plain = estimate_of_two_draws(features, weights, logits, ratio, change, middle, attention.uniform)
    return _Estimate(plain, gated, entropy)
