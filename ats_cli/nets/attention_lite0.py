"""The attention network `lite0`: a frozen trunk of EfficientNet-Lite0 below a small trainable head."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.errors import ModelError
from ats_cli.nets.attention import TrunkAttention
from ats_cli.nets.attention_cnn import content_prior
from ats_cli.nets.efficientnet_lite import STAGES, STEM_STRIDE, Lite0Trunk, frozen
from ats_cli.records import AttentionSpec

HIDDEN = 32
MEAN_SIDE = 3
"""Cells a side of the square of which the head takes the mean of each channel."""


class Lite0Attention(TrunkAttention):
    """The mean of 3x3 cells of the trunk's map, a layer of HIDDEN channels with ReLU, a logit, plus the content prior.

    `spec.blocks`: how many stages of the trunk. The last layer starts at zero: the attention of an untrained network is
    its prior, which is the last channel of the encoded view.
    """

    mean, std = Lite0Trunk.mean, Lite0Trunk.std

    def __init__(self, spec: AttentionSpec) -> None:
        if not 1 <= spec.blocks <= len(STAGES):
            raise ModelError(f"attention network {spec.net}: attention.blocks must be 1 to {len(STAGES)}.")
        trunk = Lite0Trunk(spec.blocks)
        around = MEAN_SIDE // 2
        # The prior's 3x3 mean reaches one pixel: less than the trunk.
        reach = max(trunk.before, trunk.beyond) + around * trunk.stride
        super().__init__(spec, reach, trunk.stride, score_reach=around)
        self.trunk = frozen(trunk)
        self.hidden = nn.Conv2d(trunk.channels, HIDDEN, 1)
        self.last = nn.Conv2d(HIDDEN, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    @staticmethod
    def resolution_of(spec: AttentionSpec) -> int:
        return STEM_STRIDE * math.prod(stage.stride for stage in STAGES[: spec.blocks])

    def encode(self, view: Tensor, normalised: Tensor) -> Tensor:
        with torch.no_grad():
            encoded: Tensor = self.trunk(normalised.to(self.trunk.stem.weight.dtype)).float()
            if self.spec.prior == "none":
                return encoded
            prior = content_prior(view, self.spec)
            means = functional.avg_pool2d(prior, self.resolution, ceil_mode=True, count_include_pad=False)
            return torch.cat([encoded, means.float()], 1)

    def score(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        channels = encoded[:, : self.hidden.in_channels].to(self.hidden.weight.dtype)
        # A fixed divisor: the edge of the slide is the same in a strip and in the whole view.
        means = functional.avg_pool2d(channels, MEAN_SIDE, stride=1, padding=MEAN_SIDE // 2)
        hidden = functional.relu(self.hidden(means)).to(self.last.weight.dtype)
        logits = self.last(hidden)[:, 0]
        if self.spec.prior != "none":
            logits = logits + encoded[:, -1].to(logits.dtype)
        return logits, torch.tanh(hidden)

    def compute_in(self, dtype: torch.dtype) -> None:
        self.trunk.to(dtype)
        self.hidden.to(dtype)
