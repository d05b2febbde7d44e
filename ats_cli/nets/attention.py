"""Attention networks: from a low-resolution view to a logit for every position. The protocol, and the softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.errors import AtsError, ModelError
from ats_cli.records import AttentionSpec
from ats_cli.registry import ATTENTION_NETWORKS

UNIFORM_SHARE = 1e-5
"""The share of the attention spread evenly over all positions in training: no position's gradient becomes exactly 0."""


class AttentionNetwork(nn.Module):
    """Base of all attention networks. A member of ATTENTION_NETWORKS is a function AttentionSpec -> AttentionNetwork.

    An attention network is local: a logit depends on at most `reach` view pixels on each side, and on no statistic of
    the whole view. So a strip or a crop read with `halo` pixels around it has the logits of the whole view, and a
    slide of any size is processed in bounded memory. Pixels beyond the view's edge count as 0.
    """

    def __init__(self, spec: AttentionSpec, reach: int) -> None:
        super().__init__()
        self.spec, self.stride = spec, spec.stride
        self.halo = -(-reach // spec.stride) * spec.stride
        """Pixels of the view to read around a strip: `reach`, rounded up to a multiple of `stride`."""

    def forward(self, view: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """View (N, 3, H, W) in 0..1, and the same with normalised colours -> (logits, activations).

        `logits`: (N, H, W), of pixels. `activations`: (N, T, H, W), T >= 0 hidden channels in -1..1, which describe
        the view where slides are compared with those of the training.
        """
        raise NotImplementedError

    def pool(self, logits: Tensor) -> Tensor:
        """Logits of pixels (N, H, W) -> of positions (N, ceil(H / stride), ceil(W / stride)).

        Each is the mean over its `stride` x `stride` pixels; a partial position is the mean over the pixels it has.
        """
        if self.stride == 1:
            return logits
        return functional.avg_pool2d(logits[:, None], self.stride, ceil_mode=True, count_include_pad=False)[:, 0]


def build_attention(spec: AttentionSpec) -> AttentionNetwork:
    """Return the attention network named `spec.net`, with random weights. Raises ModelError for an unknown name."""
    try:
        build = ATTENTION_NETWORKS[spec.net]
    except AtsError as error:
        raise ModelError(f"attention.net: {error}") from error
    return build(spec)


def normalise(logits: Tensor, allowed: Tensor | None = None, uniform_share: float = UNIFORM_SHARE) -> Tensor:
    """Softmax over positions: logits (N, rows, cols) -> attention, the same shape, that sums to 1 over each slide.

    `allowed`, boolean and of the same shape, marks the positions that may be drawn; the others get exactly 0.
    `uniform_share` of the attention is spread evenly over the allowed positions: 0 outside training. Computed in 64
    bits: in 32, the sum over 30 million positions misses 1 by 7e-3. The dtype of the result is that of the logits.
    """
    flat = logits.flatten(1)
    if allowed is not None:
        flat = flat.masked_fill(~allowed.flatten(1), -torch.inf)
    attention = in_64_bits(flat).softmax(1)
    if uniform_share:
        if allowed is None:
            attention = (1 - uniform_share) * attention + uniform_share / flat.shape[1]
        else:
            of_allowed = in_64_bits(allowed.flatten(1))
            uniform = uniform_share / of_allowed.sum(1, keepdim=True)
            attention = (1 - uniform_share) * attention + of_allowed * uniform
    return attention.to(logits).view_as(logits)


def in_64_bits(values: Tensor) -> Tensor:
    """Return values in float64, for sums over positions; on the CPU, where the device (Apple's MPS) has no float64."""
    return (values.cpu() if values.device.type == "mps" else values).double()
