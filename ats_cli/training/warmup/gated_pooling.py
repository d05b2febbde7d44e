"""A gate on the features of tiles, which finds evidence among tiles that were drawn uniformly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LOWEST, HIDDEN = 0.01, 64
"""The lowest gate, which keeps the mean of gated features from dividing by zero; channels of the gate's layer."""


class Gate(nn.Module):
    """Encoded tiles (..., n, W) -> gates (..., n) in LOWEST..1, of each tile by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def forward(self, encoded: Tensor) -> Tensor:
        gate: Tensor = LOWEST + (1 - LOWEST) * torch.sigmoid(self.layers(encoded)[..., 0])
        return gate


def gated_mean(features: Tensor, gates: Tensor) -> Tensor:
    """Features (..., n, D) and gates (..., n) -> their mean (..., D), each tile weighed by its gate."""
    weights = gates / gates.sum(-1, keepdim=True)
    return (weights[..., None] * features).sum(-2)
