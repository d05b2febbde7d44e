"""The method on tensors in memory, after Katharopoulos and Fleuret (ICML 2019)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.nets.attention import in_64_bits
from ats_cli.nets.estimate import expected_features
from ats_cli.sampling import draw


class Sampled(NamedTuple):
    """The result of attention sampling for a batch of B images.

    `features` (B, D): the expected features, differentiable in both nets. `attention` (B, rows, cols): the
    attention over positions. `patches` (B, n, C, p, p): the patches read (fewer than n are filled with weight 0).
    """

    features: Tensor
    attention: Tensor
    patches: Tensor


class AttentionSampling(nn.Module):
    """See `attention_sampling`. After a forward pass, `penalty` is the attention regulariser's value, or None."""

    penalty: Tensor | None = None

    def __init__(
        self,
        attention: nn.Module,
        feature: nn.Module,
        patch_size: int,
        n_patches: int,
        sampler: str,
        receptive_field: int,
        attention_regulariser: Callable[[Tensor], Tensor] | None,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.attention, self.feature = attention, feature
        self.patch_size, self.n_patches = patch_size, n_patches
        self.sampler, self.receptive_field = sampler, receptive_field
        self.attention_regulariser, self.rng = attention_regulariser, rng

    def forward(self, low: Tensor, high: Tensor) -> Sampled:
        """`low` (B, C, h, w) and `high` (B, C, H, W), two resolutions of the same images."""
        attention = self.attention(low)
        if attention.dim() == 4:
            attention = attention.squeeze(1)
        if attention.dim() != 3 or len(attention) != len(high):
            raise ValueError(f"the attention net must give (B, rows, cols), not {tuple(attention.shape)}")
        self.penalty = self.attention_regulariser(attention) if self.attention_regulariser else None

        positions, weights = self._draw(attention)
        at_low = self._centres(positions, attention.shape[1:], low.shape[2:])
        patches = crop(high, corners_around(at_low, low, high, self.patch_size), self.patch_size)
        features = self.feature(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        chosen = attention.flatten(1).gather(1, positions)
        # Missing tiles have weight 0 at position 0, whose attention may be 0: avoid 0 / 0.
        chosen = torch.where(weights > 0, chosen, torch.ones_like(chosen))
        return Sampled(expected_features(features, chosen, weights), attention, patches)

    def _draw(self, attention: Tensor) -> tuple[Tensor, Tensor]:
        positions = torch.zeros(len(attention), self.n_patches, dtype=torch.int64)
        weights = torch.zeros(len(attention), self.n_patches, dtype=torch.float64)
        for b, values in enumerate(attention.detach().cpu().double().numpy()):
            drawn = draw(values, self.n_patches, self.sampler, self.rng)
            positions[b, : len(drawn.positions)] = torch.from_numpy(drawn.positions)
            weights[b, : len(drawn.positions)] = torch.from_numpy(drawn.weights)
        return positions.to(attention.device), weights.to(attention)

    def _centres(self, positions: Tensor, grid: torch.Size, low: torch.Size) -> Tensor:
        """Return the centres of positions in pixels of the view, (B, n, 2) as (row, col), float64."""
        # On the processor: not every device has float64.
        rows_cols = torch.stack([positions // grid[1], positions % grid[1]], -1).cpu().double()
        if self.receptive_field:
            # A network without padding: position i is the centre of low pixels [i, i + receptive_field).
            return rows_cols + self.receptive_field / 2
        return (rows_cols + 0.5) * rows_cols.new_tensor([low[0] / grid[0], low[1] / grid[1]])


def attention_sampling(
    attention: nn.Module,
    feature: nn.Module,
    patch_size: int,
    n_patches: int,
    *,
    sampler: str = "systematic",
    receptive_field: int = 0,
    attention_regulariser: Callable[[Tensor], Tensor] | None = None,
    rng: np.random.Generator | None = None,
) -> AttentionSampling:
    """Return a module that maps (low-resolution view, high-resolution image) to (features, attention, patches).

    `attention` maps (B, C, h, w) to a distribution over positions, (B, rows, cols) or (B, 1, rows, cols),
    non-negative and summing to 1 for each image (`normalise` makes one of logits). `feature` maps patches
    (N, C, p, p) to (N, D). `n_patches` patches of `patch_size` pixels a side are cut from the high-resolution
    image, zero beyond its edge; only they reach the feature net.

    `sampler`: one of `registry.SAMPLERS`; "without-replacement" is the paper's. `receptive_field`: 0 when the attention
    map covers the whole view evenly; else the side, in low-resolution pixels, of the receptive field of a position in a
    network without padding. `attention_regulariser`: a function of the attention, (B, rows, cols); its value is stored
    in `penalty`, to be added to the loss. `rng`: numpy's generator, the only source of randomness (default: seed 0).

    The forward pass raises ValueError if the attention is not a distribution, AtsError if the sampler is unknown.
    """
    return AttentionSampling(
        attention,
        feature,
        patch_size,
        n_patches,
        sampler,
        receptive_field,
        attention_regulariser,
        rng or np.random.default_rng(0),
    )


def entropy_penalty(weight: float) -> Callable[[Tensor], Tensor]:
    """Return a regulariser against an early collapse of the attention: -weight * mean entropy, in nats."""

    def penalty(attention: Tensor) -> Tensor:
        return -weight * entropy(attention).mean()

    return penalty


def entropy(attention: Tensor) -> Tensor:
    """Return the entropy of each map, (B,), in nats, of attention (B, rows, cols)."""
    flat = in_64_bits(attention.flatten(1))
    # Clamped: at positions off the tissue, 0 log 0 has no gradient.
    return -(flat * flat.clamp(min=1e-30).log()).sum(1).to(attention)


def corners_around(at_low: Tensor, low: Tensor, high: Tensor, size: int) -> Tensor:
    """Return the corners (B, n, 2) of patches of `size` pixels, as (row, col), the nearest whole pixels of `high`.

    `at_low` (B, n, 2), float64: their centres in pixels of `low`.
    """
    height, width = low.shape[2:]
    centres = at_low * at_low.new_tensor([high.shape[2] / height, high.shape[3] / width])
    return torch.floor(centres - size / 2 + 0.5).long().to(high.device)


def crop(images: Tensor, corners: Tensor, size: int) -> Tensor:
    """Return patches (B, n, C, size, size) of images (B, C, H, W) at corners (B, n, 2) as (row, col); zero outside."""
    height, width = images.shape[2:]
    # All pixels farther than `size` beyond the border are zero, so corners may be clamped to that distance.
    limits = corners.new_tensor([height, width])
    corners = torch.minimum(torch.maximum(corners, torch.full_like(corners, -size)), limits) + size
    padded = functional.pad(images, (size, size, size, size))
    reach = torch.arange(size, device=images.device)
    rows = (corners[..., 0, None] + reach)[..., :, None]
    cols = (corners[..., 1, None] + reach)[..., None, :]
    batch = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1)
    return padded[batch, :, rows, cols].permute(0, 1, 4, 2, 3)
