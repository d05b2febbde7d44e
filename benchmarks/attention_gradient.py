"""How good the attention's gradient from the drawn positions is, against the exact one of the whole view.

    python -m benchmarks.attention_gradient [--draws 1000]

Maps of 64 x 64 positions, softmax of logits that are linear in 6 parameters; features of 16 positive numbers, some of
which depend on the same fields as the logits, similar at neighbours.What is differentiated
is v . F, v being fixed. For each map, number of tiles and sampler: the squared error of the gradient over the squared
norm of the exact one, and in brackets the cosine of the mean gradient with the exact one. As Markdown; all is fixed by
seeds.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor

from ats_cli.nets.attention_crops import estimate_of_two_draws, weights_with_gradient
from ats_cli.nets.estimate import expected_features
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import Draw, draw
from benchmarks.estimators import field

SIDE, PARAMETERS, DIMENSIONS = 64, 6, 16
MAPS = {"diffuse": 0.76 * SIDE**2, "medium": 330.0, "peaked": 11.0}
"""Effective positions, 1 / sum a^2."""
TILES = (10, 50)
FORMS = ("whole view", "whole view, centred", "crops, own mean", "crops, second draw")


class Scene:
    """Slopes (K, 6) of the logits, features (K, 16), attention (K,), and the exact gradient of v . F (6,); float64."""

    def __init__(self, effective: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        fields = [field(SIDE, 4, rng) + 0.15 * rng.normal(size=(SIDE, SIDE)) for _ in range(PARAMETERS)]
        slopes = np.stack(fields, -1).reshape(-1, PARAMETERS)
        features = np.stack([field(SIDE, 4, rng) for _ in range(DIMENSIONS)], -1).reshape(-1, DIMENSIONS)
        # The first depend on what the attention sees. All are positive, as after a ReLU or a maximum.
        features[:, :PARAMETERS] += slopes
        features = np.abs(features + 0.7 * rng.normal(size=features.shape))
        features = np.abs(features + 0.7 * rng.normal(size=features.shape))  # as after a ReLU or a maximum
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        self.slopes, self.features = torch.from_numpy(slopes), torch.from_numpy(features)
        self.v = torch.from_numpy(rng.normal(size=DIMENSIONS))
        direction = torch.from_numpy(rng.normal(size=PARAMETERS))
        low, high = 0.0, 64.0
        for _ in range(60):
            middle = (low + high) / 2
            attention = (self.slopes @ (middle * direction)).softmax(0)
            low, high = (middle, high) if 1 / float(attention.square().sum()) > effective else (low, middle)
        self.parameters = (high * direction).requires_grad_()
        self.attention = (self.slopes @ self.parameters).softmax(0)
        self.expected = (self.attention @ self.features).detach()
        self.exact = self.gradient((self.attention @ self.features) @ self.v)

    def gradient(self, scalar: Tensor) -> Tensor:
        return torch.autograd.grad(scalar, self.parameters, retain_graph=True)[0]

    def estimates(self, one: Draw, second: Draw) -> dict[str, Tensor]:
        """The gradient (6,) of each form, from the same draw. The centre: the exact expected features, as an average
        over many draws would give."""
        index, weights = torch.from_numpy(one.positions), torch.from_numpy(one.weights)
        features, logits = self.features[index], self.slopes[index] @ self.parameters
        even = torch.ones_like(weights)
        weighted = weights_with_gradient(weights, logits, even, 0.0, one.own_mean_factor)
        other = self.slopes[torch.from_numpy(second.positions)] @ self.parameters
        mean_change = (torch.from_numpy(second.weights) * (other - other.detach())).sum()
        whole = [expected_features(features, self.attention[index], weights, c) for c in (None, self.expected)]
        two = estimate_of_two_draws(features, weights, logits, even, mean_change, self.expected, 0.0)
        found = (*whole, weighted @ features, two)
        return {form: self.gradient(estimate @ self.v) for form, estimate in zip(FORMS, found, strict=True)}


def row(scene: Scene, tiles: int, sampler: str, draws: int) -> list[str]:
    """One cell for each form: the error, and the cosine of the mean."""
    rng = np.random.default_rng(tiles)
    attention = scene.attention.detach().numpy().reshape(SIDE, SIDE)
    found: dict[str, list[Tensor]] = {form: [] for form in FORMS}
    for _ in range(draws):
        one, second = (draw(attention, tiles, sampler, rng) for _ in range(2))
        for form, gradient in scene.estimates(one, second).items():
            found[form].append(gradient)
    cells = []
    for gradients in found.values():
        each = torch.stack(gradients)
        error = float((each - scene.exact).square().sum(1).mean() / scene.exact.square().sum())
        cosine = float(torch.nn.functional.cosine_similarity(each.mean(0), scene.exact, dim=0))
        cells.append(f"{error:.3g} ({cosine:.3f})")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    torch.set_num_threads(1)
    print(f"K = {SIDE**2}, {PARAMETERS} parameters, {draws} draws of each.\n")
    print(f"| map | n | sampler | {' | '.join(FORMS)} |\n{'|---' * (3 + len(FORMS))}|")
    for number, (name, effective) in enumerate(MAPS.items()):
        scene = Scene(effective, number)
        for tiles in TILES:
            for sampler in SAMPLERS:
                print(f"| {name} | {tiles} | {sampler} | {' | '.join(row(scene, tiles, sampler, draws))} |", flush=True)


if __name__ == "__main__":
    main()
