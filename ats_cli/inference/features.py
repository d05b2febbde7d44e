"""Tiles read and put through the feature net, in batches of one size."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.nets.model import to_unit
from ats_cli.slides import Slide
from ats_cli.zoo import LoadedModel


def tile_terms(
    slide: Slide,
    model: LoadedModel,
    boxes: NDArray[np.float64],
    batch_size: int,
    threads: int,
    seconds: dict[str, float],
) -> Iterator[NDArray[np.float64]]:
    """Yield what tiles (n, 4) would add to the class logits at weight 1, (up to batch_size, C) float64 at a time.

    The time spent is added to `seconds["read"]` and `seconds["features"]`.
    """
    patches = slide.read_tiles(boxes, model.spec.features.patch_size, model.spec.background, threads)
    clock = time.perf_counter()
    for batch, real in _batches(patches, min(batch_size, len(boxes))):
        seconds["read"] += time.perf_counter() - clock
        clock = time.perf_counter()
        with torch.inference_mode():
            features = model.nets.embed(to_unit(torch.from_numpy(batch).to(model.device)))[:real]
            terms = model.nets.tile_terms(features).cpu().double().numpy()
        seconds["features"] += time.perf_counter() - clock
        yield terms
        clock = time.perf_counter()


def _batches(patches: Iterator[NDArray[np.uint8]], size: int) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Batches of one size, and how many of each are real: the last is padded, so that a patch's features do not
    depend on how many happen to lie beside it."""
    held: list[NDArray[np.uint8]] = []
    for patch in patches:
        held.append(patch)
        if len(held) == size:
            yield np.stack(held), size
            held = []
    if held:
        yield np.stack(held + held[-1:] * (size - len(held))), len(held)
