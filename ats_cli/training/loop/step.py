"""One forward pass in training and in validation: attention, draw, tiles, estimate.

`draw_tiles` runs the attention network, draws positions and starts reading their tiles; `forward_batch` waits for the
tiles and gives logits. In between, another part of the batch can be processed.
"""

from collections.abc import Callable, Iterator
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
from ats_cli.training.dataset.augment import Augmentation
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore, SlideView


@dataclass(frozen=True)
class SlideRandomness:
    """The random part of one slide in one step: its augmentation, and the generator of its crop and its draw."""

    augmentation: Augmentation
    rng: np.random.Generator


@dataclass(frozen=True)
class DrawnBatch:
    """Drawn slides, one item a slide: attention (rows, cols) with its graph, the draw, and the patches (n, p, p, 3)
    uint8 that threads are reading."""

    randomness: list[SlideRandomness]
    attentions: list[Tensor]
    draws: list[Draw]
    patches: list[Future[NDArray[np.uint8]]]


@dataclass(frozen=True)
class BatchOutput:
    """The model's output, one row a slide.

    `logits` (B, C), `expected` features (B, D) without a graph. Of the attention: `entropy` (B,) in nats; `mass` (B,),
    the share that was drawn; `effective` (B,) positions, 1 / sum of squares; `evenness` (B,), `effective` as a share
    of the positions that may be drawn.
    """

    logits: Tensor
    expected: Tensor
    entropy: Tensor
    mass: Tensor
    effective: Tensor
    evenness: Tensor


Autocast = Callable[[], AbstractContextManager[None]]


def draw_tiles(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    randomness: list[SlideRandomness],
    crop: int = 0,
) -> DrawnBatch:
    """Compute attention, draw `spec.tiles` positions of each slide with the recipe's sampler, and start reading tiles.

    `crop`: attend to a random square of so many pixels of each view; 0: to all of it. Raises SlideError if a view
    cannot be read.
    """
    spec = nets.spec
    views = [view.crop(crop, r.rng) for view, r in zip(store.views(slides), randomness, strict=True)]
    attentions = compute_attention(nets, views, [r.augmentation for r in randomness])
    draws = [
        draw(attention.detach().cpu().double().numpy(), spec.tiles, spec.training.sampler, r.rng)
        for attention, r in zip(attentions, randomness, strict=True)
    ]
    boxes = [view.boxes(drawn.positions) for view, drawn in zip(views, draws, strict=True)]
    return DrawnBatch(randomness, attentions, draws, store.read_tiles(slides, boxes))


def draw_parts(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    randomness: list[SlideRandomness],
    parts: int,
) -> Iterator[tuple[slice, DrawnBatch]]:
    """Draw the tiles of a batch in parts, one part ahead: its tiles are read while the caller processes another.

    The slice is that of the part in `slides`.
    """
    size = -(-len(slides) // min(parts, len(slides)))

    def draw_part(start: int) -> tuple[slice, DrawnBatch]:
        part = slice(start, start + size)
        return part, draw_tiles(nets, store, slides[part], randomness[part], nets.spec.training.crop)

    following = draw_part(0)
    for start in range(size, len(slides) + size, size):
        current = following
        if start < len(slides):
            following = draw_part(start)
        yield current


def forward_batch(
    nets: Model, batch: DrawnBatch, centre: Tensor | None = None, autocast: Autocast = nullcontext
) -> BatchOutput:
    """Compute logits from the drawn tiles; differentiable in both networks. For `centre` (D,), see `expected_features`.

    Only the feature network runs within `autocast`: attention, estimate and head are in float32 or better. Raises
    SlideError if a tile cannot be read.
    """
    patches = [
        r.augmentation.apply(to_unit(torch.from_numpy(future.result())))
        for future, r in zip(batch.patches, batch.randomness, strict=True)
    ]
    with autocast():
        features = nets.embed(torch.cat(patches).to(nets.head.weight.device))
    by_slide = torch.split(features, [len(p) for p in patches])
    estimates = [_estimate(f, a, d, centre) for f, a, d in zip(by_slide, batch.attentions, batch.draws, strict=True)]
    expected = torch.stack(estimates)
    effective = torch.stack([1 / a.detach().cpu().double().square().sum() for a in batch.attentions])
    drawable = torch.tensor([int((a > 0).sum()) for a in batch.attentions])
    return BatchOutput(
        nets.logits(expected),
        expected.detach(),
        torch.stack([entropy(a[None])[0] for a in batch.attentions]),
        torch.tensor([d.attention.sum() for d in batch.draws]),
        effective,
        effective / drawable,
    )


def compute_attention(nets: Model, views: list[SlideView], augmentations: list[Augmentation]) -> list[Tensor]:
    """Attention (rows, cols) of each view, in the view's own orientation. Views of one shape form a batch."""
    device = nets.head.weight.device
    images = [
        augmentation.apply(to_unit(torch.from_numpy(view.pixels)[None])[0])
        for view, augmentation in zip(views, augmentations, strict=True)
    ]
    logits: list[Tensor] = [torch.empty(0)] * len(images)
    for shape in {image.shape for image in images}:
        members = [i for i, image in enumerate(images) if image.shape == shape]
        pixel_logits = nets.attend_pixels(torch.stack([images[i] for i in members]).to(device))
        for i, augmented in zip(members, pixel_logits, strict=True):
            # Undo the augmentation before pooling: a partial position lies at the end of the original view.
            logits[i] = nets.attention.pool(augmentations[i].undo(augmented)[None])[0]
    uniform = UNIFORM_SHARE if nets.training else 0.0
    return [
        normalise(own[None], torch.from_numpy(view.allowed)[None].to(device), uniform)[0]
        for own, view in zip(logits, views, strict=True)
    ]


def _estimate(features: Tensor, attention: Tensor, drawn: Draw, centre: Tensor | None) -> Tensor:
    at_drawn = attention.flatten()[torch.from_numpy(drawn.positions).to(attention.device)]
    return expected_features(features, at_drawn, torch.from_numpy(drawn.weights).to(features), centre)
