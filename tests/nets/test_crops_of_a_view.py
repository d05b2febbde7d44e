"""Three convolutions on crops around the drawn positions: the logits and the gradient of the whole view."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.nets.attention import normalise
from ats_cli.nets.attention_crops import estimate_of_two_draws, logits_at, weights_with_gradient
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import draw


class Convolutions(nn.Module):
    """Three 3x3 convolutions, pooled into positions of `cell` pixels: a logit depends on 3 pixels around its cell."""

    def __init__(self, cell: int, channels: int = 4) -> None:
        super().__init__()
        self.cell, self.halo = cell, -(-3 // cell) * cell
        with torch.random.fork_rng():
            torch.manual_seed(0)
            widths = (3, channels, channels, 1)
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
            for layer in self.layers:
                nn.init.normal_(layer.weight, std=0.4)

    def forward(self, view: Tensor) -> Tensor:
        for layer in self.layers:
            view = layer(torch.tanh(view))
        return functional.avg_pool2d(view, self.cell, ceil_mode=True, count_include_pad=False)[:, 0]


def flat_gradient(scalar: Tensor, network: nn.Module) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(scalar, list(network.parameters()), retain_graph=True)])


def corners_edges_and_others(rows: int, cols: int, rng: np.random.Generator) -> np.ndarray:
    corners = [0, cols - 1, (rows - 1) * cols, rows * cols - 1]
    edges = [cols // 2, (rows // 2) * cols, (rows - 1) * cols + cols // 3, (rows // 3) * cols + cols - 1]
    return np.array([*corners, *edges, *rng.integers(0, rows * cols, 4), corners[0]])


@pytest.mark.parametrize("seed", range(12))
def test_crops_have_the_logits_and_the_gradient_of_the_whole_view(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = int(rng.integers(1, 6))
    network = Convolutions(cell)
    height, width = (int(side) for side in rng.integers(60, 130, 2))
    if seed % 4 == 3:
        height = int(rng.integers(1, 2 * network.halo + cell))  # less than a crop is high
        width *= 8
    source = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    rows, cols = -(-height // cell), -(-width // cell)
    positions = corners_edges_and_others(rows, cols, rng)
    sizes: list[int] = []

    def of_crops(crops: Tensor) -> Tensor:
        sizes.append(crops.shape[0] * crops.shape[2] * crops.shape[3])
        return network(crops)

    found = logits_at(of_crops, source, positions, cell, network.halo)
    whole = network(source[None])[0].flatten()[torch.from_numpy(positions)]
    assert sum(sizes) < height * width, "else the whole view was taken"
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    probe = torch.from_numpy(rng.standard_normal(len(positions))).float()
    by_crops, by_whole = flat_gradient(found @ probe, network), flat_gradient(whole @ probe, network)
    assert float((by_crops - by_whole).norm()) < 1e-5 * float(by_whole.norm())


def test_a_view_that_is_no_larger_than_its_crops_is_taken_whole() -> None:
    network = Convolutions(2)
    source, shapes = torch.rand(3, 31, 29), []

    def of_crops(crops: Tensor) -> Tensor:
        shapes.append(tuple(crops.shape))
        return network(crops)

    positions = np.array([0, 17, 239])
    torch.testing.assert_close(
        logits_at(of_crops, source, positions.repeat(3), 2, 4), network(source[None])[0].flatten()[positions.repeat(3)]
    )
    logits_at(of_crops, source, positions, 2, 4)
    assert shapes[0] == (1, 3, 31, 29)
    assert all(shape[2:] <= (10, 10) for shape in shapes[1:])


@pytest.mark.integration
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_the_mean_over_many_draws_is_the_gradient_of_the_whole_view(sampler: str) -> None:
    """Exact about the own mean of independent draws, and with a second draw: the mean lies within its own error."""
    network, uniform, tiles, runs = Convolutions(2), 0.1, 8, 150
    source = torch.rand(3, 41, 39, generator=torch.Generator().manual_seed(1))
    rng = np.random.default_rng(0)
    logits = network(source[None])[0].flatten()
    softmax = logits.softmax(0)
    features = torch.from_numpy(rng.standard_normal((len(logits), 3)) + 2).float()
    features[:, 0] += 3 * logits.detach()
    attention = normalise(logits.view(1, 21, 20), None, uniform)[0]
    probe = torch.tensor([1.0, 0.5, -1.0])
    truth = flat_gradient(attention.flatten() @ features @ probe, network)
    centre = (attention.flatten() @ features).detach() + 0.1
    ratio = ((1 - uniform) * softmax / attention.flatten()).detach()
    gradients: dict[str, list[Tensor]] = {"own mean": [], "second draw": []}
    for _ in range(runs):
        one, other = (draw(attention.detach().double().numpy(), tiles, sampler, rng) for _ in range(2))
        index, second = torch.from_numpy(one.positions), torch.from_numpy(other.positions)
        weights, its_weights = (torch.from_numpy(d.weights).float() for d in (one, other))
        at_drawn = logits_at(network, source, one.positions, 2, network.halo)
        weighted = weights_with_gradient(weights, at_drawn, ratio[index], uniform, one.own_mean_factor)
        gradients["own mean"].append(flat_gradient(weighted @ features[index] @ probe, network))
        at_second = logits_at(network, source, other.positions, 2, network.halo)
        mean_change = (its_weights * ratio[second] * (at_second - at_second.detach())).sum()
        estimate = estimate_of_two_draws(features[index], weights, at_drawn, ratio[index], mean_change, centre, uniform)
        gradients["second draw"].append(flat_gradient(estimate @ probe, network))
    for form, found in gradients.items():
        along = torch.stack(found) @ truth / truth.square().sum()
        error = float(along.std()) / runs**0.5
        assert error < 0.15
        shortfall = 1 - float(along.mean())
        if form == "second draw" or SAMPLERS[sampler].independent:
            assert abs(shortfall) < 4 * error, form
        else:
            assert -4 * error < shortfall < 1 / tiles + 4 * error, form
        bias = 0 if form == "second draw" or SAMPLERS[sampler].independent else truth.norm() / tiles
        spread = torch.stack(found).var(0).sum().sqrt() / runs**0.5
        assert (torch.stack(found).mean(0) - truth).norm() < 2 * spread + bias, form
