"""When to stop reading tiles: the betting test on the terms of a model's tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ats_cli.nets.gate import LOWEST
from ats_cli.sampling import Betting, lowest_margins
from ats_cli.zoo import LoadedModel

Floats = NDArray[np.float64]

SLACK = 1e-6
"""Rounding of gates in float32."""


class StoppingRule:
    """Tests after each tile in race order whether the class is settled; `settled`: its index, or None.

    Without a gate the margin of two classes over all positions is sum_k a_k (z_kc - z_kc') + b_c - b_c', with the terms
    z and the biases b. With one it has the sign of sum_k a_k g_k (z_kc - z_kc' + b_c - b_c'), because sum_k a_k g_k is
    above 0: the terms are then g (z + b), the biases 0, and a pair's lowest term is min(L, g0 L), with L its lowest
    margin and g0 the lowest gate.
    """

    def __init__(self, model: LoadedModel, bias: Floats, confidence: float) -> None:
        lowest = lowest_margins(model.spec.head_scale * model.nets.head.weight.cpu().double().numpy())
        self._gated_bias = None if model.nets.gate is None else bias
        if self._gated_bias is not None:
            margins = lowest + bias[:, None] - bias[None]
            lowest = np.minimum((1 + SLACK) * margins, (1 - SLACK) * LOWEST * margins)
            bias = np.zeros_like(bias)
        self._betting = Betting(lowest, bias, 1 - confidence)

    @property
    def settled(self) -> int | None:
        return self._betting.settled

    def update(self, terms: Floats, gate: float, attention: float) -> None:
        """Add the next tile: its terms (C,), its gate, 0 for a tile that could not be read, and its attention."""
        if gate == 0:
            self._betting.update(None, attention)
        elif self._gated_bias is None:
            self._betting.update(terms, attention)
        else:
            self._betting.update(gate * (terms + self._gated_bias), attention)
