"""Attention sampling from a network and a view: as from a whole map, without a backward pass over the view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_crops_of_a_view import Convolutions, flat_gradient
from torch import Tensor, nn

from ats_cli import attention_sampling_from_view
from ats_cli.errors import AtsError
from ats_cli.nets.attention import normalise
from ats_cli.nets.attention_sampling import AttentionSampling, attention_sampling, entropy
from ats_cli.nets.view_sampling import AttentionSamplingFromView, ViewOptions
from ats_cli.registry import SAMPLERS


class Whole(nn.Module):
    """The attention of the whole view, with its gradient."""

    def __init__(self, network: nn.Module, uniform: float) -> None:
        super().__init__()
        self.network, self.uniform = network, uniform

    def forward(self, low: Tensor) -> Tensor:
        return normalise(self.network(low), None, self.uniform)


def features() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 3), nn.Tanh())


def images(height: int, width: int, times: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 3, height, width, generator=generator)
    return low, low.repeat_interleave(times, 2).repeat_interleave(times, 3)


def both(cell: int, tiles: int, **options: Any) -> tuple[AttentionSamplingFromView, AttentionSampling]:
    """From the view, and from the attention of the whole view, with the same networks."""
    network, feature, uniform = Convolutions(cell), features(), options.setdefault("uniform", 0.1)
    from_view = attention_sampling_from_view(
        network, feature, 6, tiles, cell=cell, halo=network.halo, options=ViewOptions(**options)
    )
    sampler = from_view.options.sampler
    return from_view, attention_sampling(Whole(network, uniform), feature, 6, tiles, sampler=sampler)


PROBE = torch.tensor([1.0, 0.5, -1.0])


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "with-replacement"])
@pytest.mark.parametrize("cell", [1, 2])
def test_with_every_position_drawn_value_and_gradients_are_those_of_the_whole_view(cell: int, sampler: str) -> None:
    low, high = images(8, 6)
    from_view, whole = both(cell, 50, sampler=sampler, strip_pixels=1, entropy_weight=0.3)
    ours, theirs = from_view(low, high), whole(low, high)
    torch.testing.assert_close(ours.attention, theirs.attention, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(ours.features, theirs.features, rtol=0, atol=1e-6)
    assert from_view.penalty is not None
    torch.testing.assert_close(from_view.penalty, -0.3 * entropy(theirs.attention).mean())
    network, feature = from_view.network, from_view.feature
    for net in (network, feature):
        one, other = (flat_gradient((found.features @ PROBE).sum(), net) for found in (ours, theirs))
        assert float((one - other).norm()) < 1e-5 * float(other.norm())
    one = flat_gradient(from_view.penalty, network)
    other = flat_gradient(-0.3 * entropy(theirs.attention).mean(), network)
    assert float((one - other).norm()) < 1e-4 * float(other.norm())


@pytest.mark.parametrize("strip", [1, 100, 700, 10**9])
def test_the_attention_does_not_depend_on_the_strips(strip: int) -> None:
    low, high = images(41, 35, 2)
    from_view, whole = both(3, 2, strip_pixels=strip)
    torch.testing.assert_close(from_view(low, high).attention, whole(low, high).attention, rtol=1e-5, atol=1e-9)


def test_patches_lie_around_their_positions() -> None:
    low, high = images(6, 8)
    patches = both(2, 12)[0](low, high).patches  # every position, in some order
    wanted = {tuple(high[0, :, 8 * r + 1 : 8 * r + 7, 8 * c + 1 : 8 * c + 7].flatten().tolist())
              for r in range(3) for c in range(4)}  # fmt: skip
    assert {tuple(patch.flatten().tolist()) for patch in patches[0]} == wanted


@pytest.mark.integration
@pytest.mark.parametrize(("sampler", "second_draw"), [("with-replacement", False), ("pivotal", True)])
def test_gradients_agree_on_average_with_those_of_the_whole_view(sampler: str, second_draw: bool) -> None:
    low, high = images(24, 26, 2)
    from_view, _ = both(2, 4, sampler=sampler, second_draw=second_draw)
    _, whole = both(2, 156)
    exact = whole(low, high)
    truth = flat_gradient((exact.features @ PROBE).sum(), whole.attention)
    runs = 150
    found = torch.stack(
        [flat_gradient((from_view(low, high).features @ PROBE).sum(), from_view.network) for _ in range(runs)]
    )
    along = found @ truth / truth.square().sum()
    assert float(along.std()) / runs**0.5 < 0.2
    assert abs(float(along.mean()) - 1) < 4 * float(along.std()) / runs**0.5
    assert (found.mean(0) - truth).norm() < 2 * found.var(0).sum().sqrt() / runs**0.5


def test_without_a_gradient_no_crop_is_computed_and_in_eval_mode_nothing_is_spread_evenly() -> None:
    low, high = images(24, 26, 2)
    from_view, whole = both(2, 4, second_draw=True)
    shapes: list[tuple[int, ...]] = []
    from_view.network.register_forward_hook(lambda _, inputs, __: shapes.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        found = from_view.eval()(low, high)
    assert shapes == [(1, 3, 24, 26)] * 2
    torch.testing.assert_close(found.attention, normalise(whole.attention.network(low), None, 0.0))
    assert from_view.centre is None
    from_view.train()(low, high)
    assert from_view.centre is not None and from_view.centre.shape == (3,)


@pytest.mark.slow
def test_100_steps_at_a_peaked_attention_over_4_million_positions_end_well() -> None:
    """10 effective positions of 4 million: the loss and every gradient stay finite, and the features are learnt."""
    side = 2000
    low = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    low.view(-1)[torch.randperm(side * side, generator=torch.Generator().manual_seed(1))[:10]] = 3
    network = nn.Conv2d(1, 1, 1)
    nn.init.constant_(network.weight, 16.0)
    feature = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    sampling = attention_sampling_from_view(
        network, feature, 2, 25, halo=0, options=ViewOptions(entropy_weight=0.01), rng=np.random.default_rng(0)
    )
    optimiser = torch.optim.SGD(
        [{"params": feature.parameters(), "lr": 0.02}, {"params": network.parameters(), "lr": 0}]
    )
    losses = []
    for _ in range(100):
        found = sampling(low, low)
        assert float(found.attention.double().sum()) == pytest.approx(1, abs=1e-6)
        assert 8 < float(1 / found.attention.double().square().sum()) < 12
        loss = (found.features - 1).square().sum()
        optimiser.zero_grad()
        (loss + sampling.penalty).backward()
        assert all(torch.isfinite(p.grad).all() for p in sampling.parameters() if p.grad is not None)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.1 * losses[0]


def test_wrong_calls_are_refused() -> None:
    low, high = images(8, 6)
    with pytest.raises(ValueError, match="halo must be a multiple of cell, not 3 of 2"):
        attention_sampling_from_view(Convolutions(2), features(), 6, 2, cell=2, halo=3)
    with pytest.raises(ValueError, match="uniform must be"):
        attention_sampling_from_view(Convolutions(2), features(), 6, 2, halo=3, options=ViewOptions(uniform=1.0))
    with pytest.raises(ValueError, match=r"must give logits \(1, 8, 6\)"):
        attention_sampling_from_view(Convolutions(2), features(), 6, 2, halo=3)(low, high)
    with pytest.raises(ValueError, match="low has 1 images, high 2"):
        both(2, 4)[0](low[:1], high)
    with pytest.raises(AtsError, match="dice"):
        both(2, 4, sampler="dice")[0](low, high)
    with pytest.raises(ValueError, match="sum to 1"):
        both(2, 4)[0](torch.full_like(low, torch.nan), high)
