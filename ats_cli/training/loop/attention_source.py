"""What the attention network is applied to in training: the view of a slide, or what its frozen part made of it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.nets.attention import TrunkAttention
from ats_cli.nets.attention_crops import LogitsOf, logits_at
from ats_cli.nets.model import Model
from ats_cli.nets.view_sampling.strips import in_strips
from ats_cli.training.dataset.augment import Augmentation
from ats_cli.training.dataset.digest import digest_of
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore, SlideView

STRIP_PIXELS = 1_000_000
"""Pixels of the view in one pass: about 100 MB of activations."""


@dataclass(frozen=True)
class AttentionSource:
    """An image (C, H, W) and the function from crops of it to logits of positions; see `logits_at`."""

    image: Tensor
    logits_of: LogitsOf
    cell: int
    halo: int

    def all_logits(self) -> Tensor:
        """Logits (rows, cols) of all positions, without a gradient."""
        return in_strips(self.logits_of, self.image, self.cell, self.halo, STRIP_PIXELS)

    def logits_at(self, positions: NDArray[np.int64]) -> Tensor:
        """Logits (n,) of flat positions (n,), with their gradient."""
        return logits_at(self.logits_of, self.image, positions, self.cell, self.halo)


def views_of(nets: Model, store: SlideStore, slides: list[LabelledSlide]) -> list[SlideView]:
    """The views of a batch, read side by side; of an encoded view only which positions may be drawn."""
    if isinstance(nets.attention, TrunkAttention):
        return [store.grid(slide) for slide in slides]
    return store.views(slides)


def attention_source(
    nets: Model, store: SlideStore, slide: LabelledSlide, view: SlideView, augmentation: Augmentation
) -> AttentionSource:
    """What the attention network of `nets` is applied to: pixels of `view`, or the output of a trunk.

    A trunk, the frozen part of a `TrunkAttention`, is computed once for each augmented view and kept on disk; `view`
    then needs no pixels.
    """
    network = nets.attention
    if not isinstance(network, TrunkAttention):
        return view_source(nets, view, augmentation)
    weights = digest_of(*network.buffers(), nets.view_mean, nets.view_std)
    kind = repr((weights, nets.spec.attention, augmentation))
    encoded = store.computed(slide, kind, lambda: _encode(nets, store.views([slide])[0], augmentation))
    device, cell = nets.head.weight.device, network.cells
    top, left = view.top * cell, view.left * cell
    rows, cols = view.allowed.shape
    image = torch.from_numpy(encoded)[:, top : top + rows * cell, left : left + cols * cell]
    return AttentionSource(image, lambda crops: nets.attend_encoded(crops.to(device).float()), cell, network.score_halo)


def view_source(nets: Model, view: SlideView, augmentation: Augmentation) -> AttentionSource:
    """The view's pixels. Crops are augmented one by one, so that positions are those of the view as it is."""
    device, network = nets.head.weight.device, nets.attention

    def logits_of(crops: Tensor) -> Tensor:
        logits = nets.attend_pixels(_augmented(nets, crops, augmentation).to(device))
        return network.pool(augmentation.undo(logits))

    pixels = torch.from_numpy(view.pixels).permute(2, 0, 1)
    return AttentionSource(pixels, logits_of, network.stride, network.halo)


def _encode(nets: Model, view: SlideView, augmentation: Augmentation) -> NDArray[np.float16]:
    """Encode an augmented view in strips: (E, rows, cols), in the orientation of the view."""

    def encode(strip: Tensor) -> Tensor:
        image = _augmented(nets, strip, augmentation).to(nets.head.weight.device)
        return augmentation.undo(nets.encode_views(image)).half().cpu()

    pixels = torch.from_numpy(view.pixels).permute(2, 0, 1)
    return np.asarray(in_strips(encode, pixels, nets.attention.resolution, nets.attention.halo, STRIP_PIXELS).numpy())


def _augmented(nets: Model, crops: Tensor, augmentation: Augmentation) -> Tensor:
    """Augment crops (m, 3, h, w) uint8; images in 0..1, whole cells of the network where they are turned."""
    images = crops.float() / 255
    if augmentation.turns or augmentation.mirror:
        rows, cols = (-side % nets.attention.resolution for side in images.shape[-2:])
        images = torch.nn.functional.pad(images, (0, cols, 0, rows), value=0.5)
    return augmentation.apply(images).contiguous(memory_format=torch.channels_last)
