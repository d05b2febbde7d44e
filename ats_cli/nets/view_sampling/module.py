"""Attention sampling for a network and a view: memory and time of training do not grow with a backward pass over it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ats_cli.nets.attention import UNIFORM_SHARE, in_64_bits, normalise
from ats_cli.nets.attention_crops import (
    entropy_with_gradient,
    estimate_of_two_draws,
    logits_at,
    weights_with_gradient,
)
from ats_cli.nets.attention_sampling import Sampled, corners_around, crop
from ats_cli.nets.view_sampling.strips import in_strips
from ats_cli.registry import TRAINING_SAMPLER
from ats_cli.sampling import Draw, draw

CENTRE_DECAY = 0.9
"""Of the moving average of the estimates, which is the centre of the gradient from two draws."""


@dataclass(frozen=True)
class ViewOptions:
    """How `attention_sampling_from_view` draws and takes the gradient.

    `sampler`: one of `registry.SAMPLERS`. `second_draw`: take the attention's gradient around a second draw, of which
    no patch is cut: exactly unbiased for every sampler, at twice the crops; without it, about the draw's own mean: less
    error, unbiased for "with-replacement", a few per cent too short for others. `entropy_weight`: `penalty` is minus
    this times the mean entropy of the attention, in nats. `uniform`: the share of the attention that is spread evenly
    in training. `strip_pixels`: pixels of a view that pass through the network at a time.
    """

    sampler: str = TRAINING_SAMPLER
    second_draw: bool = False
    entropy_weight: float = 0.0
    uniform: float = UNIFORM_SHARE
    strip_pixels: int = 1 << 20


@dataclass(frozen=True)
class _Attended:
    """The attention of one view, (rows, cols) in float64 without a gradient, and a draw from it."""

    attention: Tensor
    uniform: float
    drawn: Draw

    @property
    def positions(self) -> int:
        return self.attention.numel()

    def ratio(self, drawn: Draw) -> Tensor:
        """The share of the softmax in the attention of each drawn position, (n,)."""
        return torch.from_numpy(1 - self.uniform / (self.positions * drawn.attention))

    def entropy_and_mean_log(self) -> tuple[float, float]:
        """Return the entropy, and the mean of log attention under the softmax."""
        log = self.attention.clamp(min=1e-300).log()
        entropy = -float((self.attention * log).sum())
        if not self.uniform:
            return entropy, -entropy
        return entropy, (-entropy - self.uniform * float(log.mean())) / (1 - self.uniform)


class AttentionSamplingFromView(nn.Module):
    """See `attention_sampling_from_view`. After a forward pass, `penalty` is the entropy's, or None without weight."""

    penalty: Tensor | None = None
    centre: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        feature: nn.Module,
        patch_size: int,
        n_patches: int,
        cell: int,
        halo: int,
        options: ViewOptions,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        if cell < 1 or halo < 0 or halo % cell:
            raise ValueError(f"halo must be a multiple of cell, not {halo} of {cell}. Round it up.")
        if not 0 <= options.uniform < 1:
            raise ValueError(f"uniform must be at least 0 and below 1, not {options.uniform}")
        self.network, self.feature = network, feature
        self.patch_size, self.n_patches = patch_size, n_patches
        self.cell, self.halo, self.options, self.rng = cell, halo, options, rng
        self.register_buffer("centre", None, persistent=False)

    def forward(self, low: Tensor, high: Tensor) -> Sampled:
        """`low` (B, C, h, w) and `high` (B, C, H, W), two resolutions of the same images."""
        if len(low) != len(high):
            raise ValueError(f"low has {len(low)} images, high {len(high)}")
        attended = [self._attend(view) for view in low]
        positions = torch.zeros(len(low), self.n_patches, dtype=torch.int64)
        for row, one in zip(positions, attended, strict=True):
            row[: len(one.drawn.positions)] = torch.from_numpy(one.drawn.positions)
        cols = attended[0].attention.shape[1]
        at_low = (torch.stack([positions // cols, positions % cols], -1).double() + 0.5) * self.cell
        patches = crop(high, corners_around(at_low, low, high, self.patch_size), self.patch_size)
        features = self.feature(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        pairs = [self._estimate(*each) for each in zip(features, low, attended, strict=True)]
        estimates, entropies = torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])
        self.penalty = -self.options.entropy_weight * entropies.mean() if self.options.entropy_weight else None
        if self.training:
            # After the estimates: a centre that depends on its own draw would bias the gradient.
            mean = estimates.detach().mean(0)
            self.centre = mean if self.centre is None else CENTRE_DECAY * self.centre + (1 - CENTRE_DECAY) * mean
        attention = torch.stack([one.attention for one in attended])
        return Sampled(estimates, attention.to(low), patches)

    def _attend(self, view: Tensor) -> _Attended:
        logits = in_strips(self._logits, view, self.cell, self.halo, self.options.strip_pixels)
        uniform = self.options.uniform if self.training else 0.0
        attention = normalise(in_64_bits(logits)[None], None, uniform)[0]
        return _Attended(attention, uniform, self._draw(attention))

    def _draw(self, attention: Tensor) -> Draw:
        return draw(attention.cpu().numpy(), self.n_patches, self.options.sampler, self.rng)

    def _logits(self, crops: Tensor) -> Tensor:
        """Crops (m, C, h, w) -> logits (m, rows, cols). Raises ValueError for another shape."""
        logits: Tensor = self.network(crops)
        if logits.dim() == 4:
            logits = logits.squeeze(1)
        wanted = (len(crops), -(-crops.shape[2] // self.cell), -(-crops.shape[3] // self.cell))
        if logits.shape != wanted:
            raise ValueError(
                f"the network must give logits {wanted} of {tuple(crops.shape)} with cells of {self.cell} pixels, "
                f"not {tuple(logits.shape)}"
            )
        return logits

    def _estimate(self, features: Tensor, view: Tensor, attended: _Attended) -> tuple[Tensor, Tensor]:
        """Return the expected features (D,) of one image, from those of its patches (n, D), and the entropy ()."""
        drawn = attended.drawn
        features = features[: len(drawn.positions)]  # the others are fillers
        weights = torch.from_numpy(drawn.weights).to(features)
        entropy, mean_log = attended.entropy_and_mean_log()
        if not torch.is_grad_enabled():
            return (weights[:, None] * features).sum(0), weights.new_tensor(entropy)
        second = self._draw(attended.attention) if self.options.second_draw else None
        both = drawn.positions if second is None else np.concatenate([drawn.positions, second.positions])
        logits = logits_at(self._logits, view, both, self.cell, self.halo).to(features)
        of_drawn, of_second = logits[: len(weights)], logits[len(weights) :]
        ratio = attended.ratio(drawn).to(features)
        if second is None:
            weighted = weights_with_gradient(weights, of_drawn, ratio, attended.uniform, drawn.own_mean_factor)
            estimate = (weighted[:, None] * features).sum(0)
        else:
            share = (torch.from_numpy(second.weights) * attended.ratio(second)).to(features)
            mean_change = (share * (of_second - of_second.detach())).sum()
            centre = torch.zeros_like(features[0]) if self.centre is None else self.centre
            estimate = estimate_of_two_draws(features, weights, of_drawn, ratio, mean_change, centre, attended.uniform)
        log_attention = torch.from_numpy(np.log(drawn.attention)).to(features)
        return estimate, entropy_with_gradient(entropy, weights, of_drawn, ratio, log_attention, mean_log)


def attention_sampling_from_view(
    network: nn.Module,
    feature: nn.Module,
    patch_size: int,
    n_patches: int,
    *,
    cell: int = 1,
    halo: int,
    options: ViewOptions | None = None,
    rng: np.random.Generator | None = None,
) -> AttentionSamplingFromView:
    """Return a module like that of `attention_sampling`, for views of which no backward pass fits into memory or time.

    `network` maps any crop of the low-resolution view, (m, C, h, w), to *logits* of its positions, (m, rows, cols) or
    (m, 1, rows, cols), with rows = ceil(h / cell) and cols = ceil(w / cell). A position covers `cell` x `cell` pixels,
    and its logit depends on at most `halo` pixels beyond them, a multiple of `cell`; pixels beyond the view's edge
    count as 0, as in convolutions with padding. So it must use no statistic of a whole view or batch.

    The forward pass computes the attention of each view in strips, without a gradient, draws, and runs `network` with a
    gradient on crops around the drawn positions only. The backward pass needs the memory of these crops. The attention
    that is returned has no gradient; its entropy is `penalty`, to be added to the loss, where `options` weighs it.

    `feature`, `patch_size`, `n_patches`, `rng`: as for `attention_sampling`. A patch has the centre of its position.
    Raises ValueError if `halo` is no multiple of `cell`, or in the forward pass if logits are of another shape or not
    finite; AtsError if the sampler is unknown.
    """
    return AttentionSamplingFromView(
        network, feature, patch_size, n_patches, cell, halo, options or ViewOptions(), rng or np.random.default_rng(0)
    )
