"""The attention network `cnn`: 3x3 convolutions and a fixed content prior."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.nets.attention import AttentionNetwork
from ats_cli.records import AttentionSpec


class AttentionCNN(AttentionNetwork):
    """3x3 convolutions of `spec.channels` channels with tanh, a last one with one channel, plus the content prior.

    The last convolution starts at zero: the attention of an untrained network is its prior.
    """

    def __init__(self, spec: AttentionSpec) -> None:
        widths = (3, *spec.channels)
        # Each 3x3 convolution adds one pixel to the reach; the 3x3 mean of the prior needs one pixel only.
        super().__init__(spec, reach=len(widths))
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, view: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
        hidden = normalised.to(next(self.hidden.parameters(), self.last.weight).dtype)
        for conv in self.hidden:
            hidden = torch.tanh(conv(hidden))
        logits: Tensor = self.last(hidden.to(self.last.weight.dtype)) + content_prior(view, self.spec)
        return logits[:, 0], hidden

    def compute_in(self, dtype: torch.dtype) -> None:
        self.hidden.to(dtype)


def content_prior(view: Tensor, spec: AttentionSpec) -> Tensor:
    """Return the prior of a view (N, 3, H, W) in 0..1 as logits (N, 1, H, W): strength * min(1, z / saturation).

    z is the 3x3 mean of brightness ("bright": digits on black) or of optical density ("dense": stained tissue on
    white, -log10 of transmitted light, Beer-Lambert law). 0 everywhere for "none".
    """
    if spec.prior == "none":
        return torch.zeros_like(view[:, :1])
    amount = view if spec.prior == "bright" else -torch.log10(view * (255 / 256) + 1 / 256)
    # A zero border, as in the convolutions: the edge of the slide is the same in a strip and in the whole view.
    mean = functional.avg_pool2d(amount.mean(1, keepdim=True), 3, stride=1, padding=1)
    return spec.prior_strength * (mean / spec.prior_saturation).clamp(max=1)
