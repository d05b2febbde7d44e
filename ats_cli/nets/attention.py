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

    An attention network is local: a logit depends on at most `reach` view pixels on each side of its cell of
    `resolution` x `resolution` pixels, and on no statistic of the whole view. So a strip or a crop that begins at a
    multiple of `stride` and is read with `halo` pixels around it has the logits of the whole view, and a slide of any
    size is processed in bounded memory. Pixels beyond the view's edge count as 0.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """How the network's weights want the colours normalised, where `spec` has none; empty: as the model."""

    def __init__(self, spec: AttentionSpec, reach: int, resolution: int = 1) -> None:
        super().__init__()
        if spec.stride % resolution:
            raise ModelError(
                f"attention network {spec.net}: attention.stride must be a multiple of {resolution}, the pixels a side "
                f"of what it gives one logit to, not {spec.stride}."
            )
        self.spec, self.stride, self.resolution = spec, spec.stride, resolution
        self.halo = -(-reach // spec.stride) * spec.stride
        """Pixels of the view to read around a strip: `reach`, rounded up to a multiple of `stride`."""

    @staticmethod
    def resolution_of(spec: AttentionSpec) -> int:
        """Return the `resolution` of the network that `spec` describes, without building it."""
        return 1

    def forward(self, view: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """View (N, 3, H, W) in 0..1, and the same with normalised colours -> (logits, activations).

        `logits`: (N, ceil(H / resolution), ceil(W / resolution)), float32, of cells. `activations`: (N, T) and the same
        size, T >= 0 hidden channels in -1..1, which describe the view where slides are compared with those of the
        training.
        """
        raise NotImplementedError

    def compute_in(self, dtype: torch.dtype) -> None:
        """Compute in another precision where that is meant to be done: nowhere. The last layer stays in float32."""

    @property
    def cells(self) -> int:
        """Cells of a logit on each side of a position."""
        return self.stride // self.resolution

    def pool(self, logits: Tensor) -> Tensor:
        """Logits of cells -> of positions (N, ceil(H / stride), ceil(W / stride)).

        Each is the mean over its `cells` x `cells` cells; a partial position is the mean over the cells it has.
        """
        if self.cells == 1:
            return logits
        return functional.avg_pool2d(logits[:, None], self.cells, ceil_mode=True, count_include_pad=False)[:, 0]


class TrunkAttention(AttentionNetwork):
    """A frozen trunk, and a small trainable head on its output: what the trunk gives can be computed once and stored.

    `score_halo`: cells of the encoded view beyond a position that its logit depends on, a multiple of `cells`.
    """

    def __init__(self, spec: AttentionSpec, reach: int, resolution: int, score_reach: int) -> None:
        super().__init__(spec, reach, resolution)
        self.score_halo = -(-score_reach // self.cells) * self.cells

    def encode(self, view: Tensor, normalised: Tensor) -> Tensor:
        """View (N, 3, H, W), twice as in `forward` -> (N, E, ceil(H / resolution), ceil(W / resolution)), float32.

        It depends on no trainable weight, and has no gradient.
        """
        raise NotImplementedError

    def score(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded view (N, E, rows, cols), of any floating-point type -> (logits, activations), as `forward`."""
        raise NotImplementedError

    def forward(self, view: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
        return self.score(self.encode(view, normalised))


def build_attention(spec: AttentionSpec) -> AttentionNetwork:
    """Return the attention network named `spec.net`, with random weights. Raises ModelError for an unknown name."""
    try:
        build = ATTENTION_NETWORKS[spec.net]
    except AtsError as error:
        raise ModelError(f"attention.net: {error}") from error
    return build(spec)


def fitting_stride(spec: AttentionSpec) -> int:
    """Return `spec.stride`, raised to a multiple of its network's resolution. Raises ModelError for an unknown name."""
    try:
        member = ATTENTION_NETWORKS[spec.net]
    except AtsError as error:
        raise ModelError(f"attention.net: {error}") from error
    is_class = isinstance(member, type) and issubclass(member, AttentionNetwork)
    resolution = member.resolution_of(spec) if is_class else 1  # type: ignore[attr-defined]
    return -(-spec.stride // resolution) * resolution


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
