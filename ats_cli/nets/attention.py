"""The attention net: a low-resolution view in, a logit for every position out.

Local on purpose: fixed constants only, no statistic of the whole view. A strip read with `halo` rows around it, or
a crop, gives the logits that the whole view gives, so a slide of any size is seen in bounded memory.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.records import AttentionSpec

# The share of the attention spread evenly over all positions in training. It keeps every position possible, so that
# no gradient vanishes for good.
UNIFORM_SHARE = 1e-5


class AttentionNet(nn.Module):
    """3x3 convolutions with tanh, plus a fixed content prior, averaged over `stride` x `stride` pixels.

    The last convolution starts at zero: an untrained net attends as its prior says.
    """

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
        widths = (3, *spec.channels)
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.spec = spec
        reach = len(widths)  # a pixel of reach for each 3x3 convolution; the prior's 3x3 mean reaches no farther
        self.halo = -(-reach // spec.stride) * spec.stride
        """Rows of view to read around a strip, a multiple of `stride`."""

    def at_pixels(self, view: Tensor, normalised: Tensor) -> Tensor:
        """View (N, 3, H, W) in 0..1, and the same with its colours normalised -> logits of its pixels (N, H, W)."""
        return self.from_hidden(view, self.hidden_of(normalised))

    def hidden_of(self, normalised: Tensor) -> Tensor:
        """What the last convolution sees, (N, channels, H, W), each in -1..1."""
        hidden = normalised
        for conv in self.hidden:
            hidden = torch.tanh(conv(hidden))
        return hidden

    def from_hidden(self, view: Tensor, hidden: Tensor) -> Tensor:
        """Logits of pixels (N, H, W)."""
        logits: Tensor = self.last(hidden) + content_prior(view, self.spec)
        return logits[:, 0]

    def pool(self, logits: Tensor) -> Tensor:
        """Logits of pixels (N, H, W) -> of positions (N, ceil(H / stride), ceil(W / stride)): the mean of each; a
        last, partial one counts the pixels it has."""
        if self.spec.stride == 1:
            return logits
        return functional.avg_pool2d(logits[:, None], self.spec.stride, ceil_mode=True, count_include_pad=False)[:, 0]


def content_prior(view: Tensor, spec: AttentionSpec) -> Tensor:
    """Where there is something to see, (N, 1, H, W): strength * min(1, z / saturation).

    z is the 3x3 mean of brightness ("bright": digits on black) or of optical density ("dense": stained tissue on
    white, -log10 of transmitted light, Beer-Lambert).
    """
    if spec.prior == "none":
        return torch.zeros_like(view[:, :1])
    amount = view if spec.prior == "bright" else -torch.log10(view * (255 / 256) + 1 / 256)
    # A zero border, as in the convolutions: the same at the slide's edge whether seen whole or in strips.
    mean = functional.avg_pool2d(amount.mean(1, keepdim=True), 3, stride=1, padding=1)
    return spec.prior_strength * (mean / spec.prior_saturation).clamp(max=1)


def normalise(logits: Tensor, allowed: Tensor | None = None, uniform_share: float = UNIFORM_SHARE) -> Tensor:
    """Logits (N, rows, cols) -> attention, the same shape, summing to 1 over each slide's allowed positions.

    `allowed`, boolean and of the same shape, marks the positions that may be drawn; the others get exactly 0.
    `uniform_share` of the attention is spread evenly over the allowed positions, in training.
    """
    flat = logits.flatten(1)
    uniform = torch.ones_like(flat)
    if allowed is not None:
        outside = ~allowed.flatten(1)
        flat = flat.masked_fill(outside, -torch.inf)
        uniform = uniform.masked_fill(outside, 0)
    uniform = uniform / uniform.sum(1, keepdim=True)
    return ((1 - uniform_share) * flat.softmax(1) + uniform_share * uniform).view_as(logits)
