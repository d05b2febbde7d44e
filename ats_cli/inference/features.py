"""Tiles read and put through the feature net, in batches of one size."""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.nets.model import to_unit
from ats_cli.slides import Slide, Unreadable
from ats_cli.zoo import LoadedModel


def tile_terms(
    slide: Slide,
    model: LoadedModel,
    boxes: NDArray[np.float64],
    batch_size: int,
    threads: int,
    seconds: dict[str, float],
    problems: list[str],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield what tiles (n, 4) would add to the class logits at weight 1, up to `batch_size` at a time: terms (b, C)
    float64 and which tiles could be read (b,). The terms of the others are 0, and `problems` says why.

    The time spent is added to `seconds["read"]` and `seconds["features"]`.
    """
    spec = model.spec.features
    patches = slide.scan_tiles(boxes, spec.patch_size, model.spec.background, threads)
    clock = time.perf_counter()
    while some := list(itertools.islice(patches, batch_size)):
        readable = np.array([not isinstance(patch, Unreadable) for patch in some])
        problems.extend(patch.reason for patch in some if isinstance(patch, Unreadable))
        # Batches are of one size, so that a patch's features do not depend on how many happen to lie beside it.
        batch = np.zeros((min(batch_size, len(boxes)), spec.patch_size, spec.patch_size, 3), np.uint8)
        for place, patch in zip(batch, some, strict=False):
            if not isinstance(patch, Unreadable):
                place[:] = patch
        seconds["read"] += time.perf_counter() - clock
        clock = time.perf_counter()
        with torch.inference_mode():
            features = model.nets.embed(to_unit(torch.from_numpy(batch).to(model.device)))[: len(some)]
            terms = model.nets.tile_terms(features).cpu().double().numpy()
        seconds["features"] += time.perf_counter() - clock
        yield np.where(readable[:, None], terms, 0.0), readable
        clock = time.perf_counter()
