"""Tiles read and put through the feature net, in batches of one size."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.inference.look import not_finite
from ats_cli.inference.passes import Spent, in_order, passes_at_a_time
from ats_cli.nets.model import to_unit
from ats_cli.slides import Slide, Unreadable
from ats_cli.slides.reader import Pixels
from ats_cli.zoo import LoadedModel

# Patches in a forward pass where nothing is said: what a core's cache takes, and what keeps a GPU busy.
BATCH_CPU, BATCH_GPU = 8, 64


def tile_terms(
    slide: Slide,
    model: LoadedModel,
    boxes: NDArray[np.float64],
    batch_size: int | None,
    threads: int,
    spent: Spent,
    problems: list[str],
    summed_up: bool = False,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield what tiles (n, 4) would add to the class logits at weight 1, up to `batch_size` at a time: terms (b, C)
    float64 and which tiles could be read (b,). The terms of the others are 0, and `problems` says why. With `summed_up`
    there are more columns: the summary of each tile's features.

    Time is spent on "read" (waiting for patches) and on "features".
    """
    size = batch_size or (BATCH_CPU if model.device.type == "cpu" else BATCH_GPU)
    side = model.spec.features.patch_size

    def batches() -> Iterator[tuple[Pixels, NDArray[np.bool_]]]:
        patches = slide.scan_tiles(boxes, side, model.spec.background, threads)
        while True:
            with spent.on("read"):
                some = list(itertools.islice(patches, size))
                if not some:
                    return
                problems.extend(patch.reason for patch in some if isinstance(patch, Unreadable))
                readable = np.array([not isinstance(patch, Unreadable) for patch in some])
                # Batches are of one size, so that a patch's features do not depend on how many lie beside it.
                batch = np.zeros((size, side, side, 3), np.uint8)
                for place, patch in zip(batch, some, strict=False):
                    if not isinstance(patch, Unreadable):
                        place[:] = patch
            yield batch, readable

    def terms(item: tuple[Pixels, NDArray[np.bool_]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        batch, readable = item
        with spent.on("features"), torch.inference_mode():
            features = model.nets.embed(to_unit(to_device(batch, model.device)))[: len(readable)]
            found = model.nets.tile_terms(features).cpu().double().numpy()
            if summed_up:
                found = np.hstack([found, model.nets.summary(features).cpu().double().numpy()])
        if not np.isfinite(found[readable]).all():
            raise not_finite(slide, model)
        return np.where(readable[:, None], found, 0.0), readable

    return in_order(terms, batches(), passes_at_a_time(model.device, threads))


def to_device(pixels: Pixels, device: torch.device) -> torch.Tensor:
    """An array on the device; to CUDA from pinned memory, so that the copy need not be waited for."""
    tensor = torch.from_numpy(pixels)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
