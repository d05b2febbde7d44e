"""Tiles drawn uniformly from each slide, encoded once by the frozen feature network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.nets.model import Model, to_unit
from ats_cli.registry import TRAINING_SAMPLER
from ats_cli.sampling import draw, slide_rng
from ats_cli.training.dataset.augment import NONE, Augmentation, draw_augmentation
from ats_cli.training.dataset.digest import digest_of
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.frozen_features import BATCH, encode_frozen


@dataclass(frozen=True)
class UniformTiles:
    """Tiles of one slide: flat `positions` (n,), and what the backbone made of them, `encoded` (n, W) float16."""

    slide: LabelledSlide
    positions: NDArray[np.int64]
    encoded: NDArray[np.float16]


def encode_uniform_tiles(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    seed: int,
    augmented: bool,
    on_slide: Callable[[], None] = lambda: None,
) -> list[UniformTiles]:
    """Draw the recipe's tiles of each slide, spread evenly over the positions that may be drawn, and encode them.

    `augmented`: each tile in its own way, so that a slide cannot be known by its stain. What is encoded is kept on disk
    with the views. `on_slide` is called after each slide. Raises SlideError if a tile cannot be read.
    """
    recipe, found = nets.spec.training, []
    weights = digest_of(*nets.features.backbone.state_dict().values(), nets.patch_mean, nets.patch_std)
    for slide in slides:
        rng = slide_rng(seed, slide.slide_id)
        positions = _uniform_positions(store.grid(slide).allowed, recipe.warmup.tiles, rng)
        own = [draw_augmentation(recipe, rng) if augmented else NONE for _ in positions]
        boxes = store.grid(slide).boxes(positions)
        kind = repr((weights, nets.spec.features, nets.spec.background, digest_of(boxes), own))
        encode = partial(_encode, nets, store, slide, boxes, own)
        found.append(UniformTiles(slide, positions, store.computed(slide, kind, encode)))
        on_slide()
    return found


def _uniform_positions(allowed: NDArray[np.bool_], tiles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw positions of a uniform attention, spread along a curve."""
    return draw(allowed / np.count_nonzero(allowed), tiles, TRAINING_SAMPLER, rng).positions


def _encode(
    nets: Model,
    store: SlideStore,
    slide: LabelledSlide,
    boxes: NDArray[np.float64],
    augmentations: list[Augmentation],
) -> NDArray[np.float16]:
    (patches,) = store.read_tiles([slide], [boxes])
    images = (to_unit(torch.from_numpy(patch[None]))[0] for patch in patches.result())
    tiles = (augmentation.apply(image) for image, augmentation in zip(images, augmentations, strict=True))
    batches = (torch.stack(batch) for batch in iter(lambda: list(islice(tiles, BATCH)), []))
    return np.asarray(encode_frozen(nets, batches).half().cpu().numpy())
