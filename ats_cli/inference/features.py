"""Read tiles and run the feature network over them, in batches of one size."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.inference.context import PredictionContext
from ats_cli.nets.model import to_unit
from ats_cli.slides import Unreadable
from ats_cli.slides.reader import Pixels

# Default patches in a forward pass: what fits a core's cache, and what saturates a GPU.
BATCH_CPU, BATCH_GPU = 8, 64


class TileBatch(NamedTuple):
    """The feature network's results for up to a batch of tiles.

    terms: (b, C + 1) float64, what each tile would add to the class logits at weight 1, and its gate; 0 where it could
    not be read. With summaries there are more columns: the summary of each tile's features.
    readable: (b,) bool.
    problem: why the first unreadable tile could not be read, or None.
    """

    terms: NDArray[np.float64]
    readable: NDArray[np.bool_]
    problem: str | None


def tile_features(context: PredictionContext, boxes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the features of tiles (n, 4), (n, D); 0 for those that cannot be read."""
    nets, device = context.model.nets, context.model.device
    found = []
    for batch in _patch_batches(context, boxes, BATCH_CPU if device.type == "cpu" else BATCH_GPU):
        with torch.inference_mode():
            features = (
                nets.embed(to_unit(to_device(batch.patches, device)))[: len(batch.readable)].float().cpu().numpy()
            )
        found.append(np.where(batch.readable[:, None], features, np.float32(0)))
    return np.concatenate(found)


class _PatchBatch(NamedTuple):
    """Patches (size, p, p, 3); the first ones, `readable` (b,), are of tiles, the others fill the batch."""

    patches: Pixels
    readable: NDArray[np.bool_]
    problem: str | None


def tile_batches(
    context: PredictionContext, boxes: NDArray[np.float64], batch_size: int | None, summaries: bool = False
) -> Iterator[TileBatch]:
    """Yield the results for tiles (n, 4), up to `batch_size` at a time, in order.

    Stages are "read" (waiting for patches) and "features". Raises SlideError for a network that gives no numbers.
    """
    nets, device = context.model.nets, context.model.device

    def forward(batch: _PatchBatch) -> TileBatch:
        readable = batch.readable
        with context.stopwatch.measure("features"), torch.inference_mode():
            encoded = nets.encode_patches(to_unit(to_device(batch.patches, device)))[: len(readable)]
            features = nets.features.project(encoded)
            columns = [nets.tile_terms(features), nets.gates(encoded)[:, None]]
            if summaries:
                columns.append(nets.summary(features))
            terms = np.hstack([column.cpu().double().numpy() for column in columns])
        if not np.isfinite(terms[readable]).all():
            raise context.not_finite()
        return TileBatch(np.where(readable[:, None], terms, 0.0), readable, batch.problem)

    size = batch_size or (BATCH_CPU if device.type == "cpu" else BATCH_GPU)
    return context.forward_pool().map(forward, _patch_batches(context, boxes, size))


def _patch_batches(context: PredictionContext, boxes: NDArray[np.float64], size: int) -> Iterator[_PatchBatch]:
    """Read patches in batches of one size, so a patch's features do not depend on the number of patches beside it."""
    spec = context.model.spec
    side = spec.features.patch_size
    patches = context.slide.scan_tiles(boxes, side, spec.background, context.threads)
    while True:
        with context.stopwatch.measure("read"):
            some = list(itertools.islice(patches, size))
            if not some:
                return
            batch = np.zeros((size, side, side, 3), np.uint8)
            readable, problem = np.ones(len(some), np.bool_), None
            for i, patch in enumerate(some):
                if isinstance(patch, Unreadable):
                    readable[i], problem = False, problem or patch.reason
                else:
                    batch[i] = patch
        yield _PatchBatch(batch, readable, problem)


def to_device(pixels: Pixels, device: torch.device) -> torch.Tensor:
    """Copy an array to the device; to CUDA from pinned memory, so that the copy is asynchronous."""
    tensor = torch.from_numpy(pixels)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
