"""A gate on the features of tiles: a small bounded network that says how much a drawn tile counts.

The paper's estimate averages all drawn tiles at their attention. Where evidence is rare even under the attention, the
average drowns it; the gate, which sees the tile itself, pools the drawn tiles once more: sum w g f / sum w g.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LOWEST = 0.01
"""The lowest gate, which keeps the mean of gated features from dividing by zero."""


class Gate(nn.Module):
    """Encoded tiles (..., n, W) -> gates (..., n) in LOWEST..1, of each tile by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, encoded: Tensor) -> Tensor:
        gate: Tensor = LOWEST + (1 - LOWEST) * torch.sigmoid(self.layers(encoded)[..., 0])
        return gate


def gated_mean(features: Tensor, gates: Tensor) -> Tensor:
    """Features (..., n, D) and gates (..., n) -> their mean (..., D), each tile weighed by its gate."""
    weights = gates / gates.sum(-1, keepdim=True)
    return (weights[..., None] * features).sum(-2)
