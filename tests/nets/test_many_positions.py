"""Slides have millions of positions: sums over them are taken in 64 bits, and no training ends by rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ats_cli.nets.attention import in_64_bits, normalise
from ats_cli.nets.attention_sampling import entropy
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import draw
from ats_cli.sampling.hilbert import hilbert_order

SIDES = [100, 1000, pytest.param(5477, marks=pytest.mark.slow)]


def spread_logits(side: int) -> Tensor:
    """Logits of spread 3: a softmax of theirs in 32 bits sums to 1 + 2e-4 over 10^6 positions, + 7e-3 over 3 * 10^7."""
    return 3 * torch.randn(1, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("uniform", [0.0, 1e-5])
def test_attention_sums_to_1_over_any_number_of_positions(side: int, uniform: float) -> None:
    logits = spread_logits(side)
    allowed = torch.arange(side)[None, :, None].expand_as(logits) % 7 > 0
    for mask in (None, allowed):
        attention = normalise(logits, mask, uniform)
        assert attention.dtype == torch.float32
        assert float(attention.double().sum()) == pytest.approx(1, abs=1e-7)
    assert float(attention[~allowed].abs().max()) == 0
    exact = logits.double().masked_fill(~allowed, -torch.inf).flatten().softmax(0)
    exact = (1 - uniform) * exact + uniform * allowed.flatten() / allowed.sum()
    torch.testing.assert_close(attention.flatten().double(), exact, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("side", SIDES)
def test_the_entropy_is_that_of_64_bits(side: int) -> None:
    attention = normalise(spread_logits(side))
    exact = attention.double().numpy()
    assert float(entropy(attention)) == pytest.approx(-(exact * np.log(exact)).sum(), rel=2e-7)


@pytest.mark.parametrize("side", SIDES)
def test_a_softmax_in_32_bits_can_be_drawn_from(side: int) -> None:
    attention = spread_logits(side).flatten().softmax(0).view(side, side).numpy()
    total = attention.sum(dtype=np.float64)
    if side > 100:
        assert abs(total - 1) > 1e-4, "else the test tests nothing"
    one = draw(attention, 50, "systematic", np.random.default_rng(0))
    assert one.weights.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(one.attention, attention.ravel()[one.positions] / total, rtol=1e-12)
    assert one.positions.min() >= 0 and one.positions.max() < side * side and len(set(one.positions.tolist())) == 50


@pytest.mark.parametrize("side", [4, 100, 2000])
def test_what_is_no_distribution_is_refused_at_every_size(side: int) -> None:
    logits = spread_logits(side)[0]
    forgotten = {
        "logits": logits,
        "sigmoid": logits.sigmoid(),
        "exp": logits.exp(),
        "by row": logits.softmax(1),
        "a hundredth too much": 1.01 * logits.flatten().softmax(0).view_as(logits),
        "nan": torch.full_like(logits, torch.nan),
    }
    for attention in forgotten.values():
        with pytest.raises(ValueError, match="must be non-negative and sum to 1"):
            draw(attention.numpy(), 3, "systematic", np.random.default_rng(0))
    with pytest.raises(ValueError, match=rf"the sum over {side * side:,} positions is {side}, .* Apply a softmax"):
        draw(np.full((side, side), 1 / side), 3, "systematic", np.random.default_rng(0))


@pytest.mark.integration
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_draws_from_10_effective_of_4_million_positions_end_well(sampler: str) -> None:
    """The weights give the sum of any function of the position, within the spread of the draws."""
    side, runs, tiles = 2000, 12, 25
    logits = torch.randn(1, side, side, generator=torch.Generator().manual_seed(1))
    peaks = torch.randperm(side * side, generator=torch.Generator().manual_seed(2))[:10]
    logits.view(-1)[peaks] += 24
    attention = normalise(logits, None, 0.0)[0].numpy()
    share = attention.ravel()[peaks.numpy()]
    assert share.sum() > 0.99
    value = np.random.default_rng(0).random(side * side)
    truth = float(attention.ravel().astype(float) @ value)
    estimates = []
    for seed in range(runs):
        one = draw(attention, tiles, sampler, np.random.default_rng(seed))
        assert np.isfinite(one.weights).all() and one.draws.sum() == tiles
        estimates.append(one.weights @ value[one.positions])
    off = abs(np.mean(estimates) - truth)
    assert off < 5 * np.std(estimates) / runs**0.5 + 1e-6
    assert np.std(estimates) < 0.2


@pytest.mark.slow
def test_the_curve_visits_each_of_30_million_positions_once() -> None:
    order = hilbert_order(5477, 5501)
    assert order.dtype == np.int64
    assert (np.bincount(order, minlength=5477 * 5501) == 1).all()


def test_a_device_without_float64_adds_up_on_the_processor() -> None:
    class OnMPS:
        """A tensor of a device that fails on float64, as MPS does."""

        device = torch.device("mps")

        def double(self) -> Tensor:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

        def cpu(self) -> Tensor:
            return torch.ones(2)

    assert in_64_bits(OnMPS()).dtype == torch.float64  # type: ignore[arg-type]
