"""Tiles drawn uniformly from each slide, encoded once by the frozen feature network."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.nets.model import Model, to_unit
from ats_cli.registry import TRAINING_SAMPLER
from ats_cli.sampling import draw, slide_rng
from ats_cli.training.dataset.augment import Augmentation
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.frozen_features import BATCH, encode_frozen


@dataclass(frozen=True)
class UniformTiles:
    """Tiles of one slide: flat `positions` (n,), and what the backbone made of them, `encoded` (n, W) float16."""

    slide: LabelledSlide
    augmentation: Augmentation
    positions: NDArray[np.int64]
    encoded: NDArray[np.float16]


def encode_uniform_tiles(
    nets: Model,
    store: SlideStore,
    slides: list[LabelledSlide],
    augmentations: list[Augmentation],
    tiles: int,
    seed: int,
    on_slide: Callable[[int], None] = lambda _: None,
) -> list[UniformTiles]:
    """Draw `tiles` positions of each slide, spread evenly over those that may be drawn, and encode their tiles.

    They are kept on disk with the views. `on_slide` is called with the number of slides done. Raises SlideError if a
    tile cannot be read.
    """
    found: list[UniformTiles] = []
    for slide, augmentation in zip(slides, augmentations, strict=True):
        positions = _uniform_positions(store.grid(slide).allowed, tiles, slide_rng(seed, slide.slide_id))
        kind = repr((nets.spec.features, tiles, seed, augmentation))

        def encode(slide: LabelledSlide = slide, positions: NDArray[np.int64] = positions) -> NDArray[np.float16]:
            (patches,) = store.read_tiles([slide], [store.grid(slide).boxes(positions)])
            return _encode(nets, patches, augmentation)  # noqa: B023 (called before the next slide)

        found.append(UniformTiles(slide, augmentation, positions, store.computed(slide, kind, encode)))
        on_slide(len(found))
    return found


def _uniform_positions(allowed: NDArray[np.bool_], tiles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw positions of a uniform attention, spread along a curve."""
    return draw(allowed / np.count_nonzero(allowed), tiles, TRAINING_SAMPLER, rng).positions


def _encode(nets: Model, patches: Future[NDArray[np.uint8]], augmentation: Augmentation) -> NDArray[np.float16]:
    batches = (augmentation.apply(to_unit(b)) for b in torch.split(torch.from_numpy(patches.result()), BATCH))
    return np.asarray(encode_frozen(nets, batches).half().cpu().numpy())
