"""Attention sampling on tensors: the right patches are cut, the estimate is right, and it learns where to look."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli import attention_sampling
from ats_cli.errors import AtsError
from ats_cli.nets.attention_sampling import AttentionSampling, entropy_penalty
from ats_cli.registry import SAMPLERS

DOC = Path(__file__).parents[2] / "docs" / "attention_sampling.md"


class Given(nn.Module):
    """An attention net that attends as it was told, (B, rows, cols), whatever it sees."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, low: Tensor) -> Tensor:
        return self.logits.flatten(1).softmax(1).view_as(self.logits)


class Features(nn.Module):
    """A patch's mean and a few weighted sums, (N, D)."""

    def __init__(self, pixels: int, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(pixels, width, dtype=torch.float64)

    def forward(self, patches: Tensor) -> Tensor:
        return torch.tanh(self.linear(patches.flatten(1)))


def sampler_over(rows: int, cols: int, patch: int, tiles: int, **options: Any) -> AttentionSampling:
    torch.manual_seed(0)
    attention = Given(torch.randn(2, rows, cols, dtype=torch.float64))
    return attention_sampling(attention, Features(2 * patch * patch), patch, tiles, **options)


def pictures(height: int, width: int, rows: int, cols: int) -> tuple[Tensor, Tensor]:
    high = torch.rand(2, 2, height, width, dtype=torch.float64)
    return functional.adaptive_avg_pool2d(high, (rows, cols)), high


def cut(image: Tensor, row: float, col: float, size: int) -> Tensor:
    """The square around a centre, to the nearest whole pixel; zero beyond the edge."""
    out = torch.zeros(image.shape[0], size, size, dtype=image.dtype)
    top, left = round(row - size / 2 + 1e-9), round(col - size / 2 + 1e-9)
    for r in range(size):
        for c in range(size):
            if 0 <= top + r < image.shape[1] and 0 <= left + c < image.shape[2]:
                out[:, r, c] = image[:, top + r, left + c]
    return out


@pytest.mark.integration
@pytest.mark.parametrize(
    ("high", "low", "grid", "patch"),
    [
        ((40, 40), (10, 10), (10, 10), 8),
        ((33, 47), (11, 13), (11, 13), 7),
        ((37, 29), (12, 10), (4, 5), 10),
        ((16, 9), (8, 3), (2, 3), 25),
    ],
)
def test_a_position_s_patch_is_cut_around_its_place(
    high: tuple[int, int], low: tuple[int, int], grid: tuple[int, int], patch: int
) -> None:
    small, large = pictures(*high, *low)
    _, _, patches = sampler_over(*grid, patch, grid[0] * grid[1])(small, large)
    for b in range(2):
        for k in range(grid[0] * grid[1]):
            row, col = (k // grid[1] + 0.5) * high[0] / grid[0], (k % grid[1] + 0.5) * high[1] / grid[1]
            torch.testing.assert_close(patches[b, k], cut(large[b], row, col, patch), msg=f"position {k}")


@pytest.mark.parametrize(("high", "low", "field"), [((40, 40), (10, 10), 5), ((33, 47), (11, 13), 4)])
def test_a_net_without_padding_sees_less_of_the_border(high: tuple[int, int], low: tuple[int, int], field: int) -> None:
    rows, cols = low[0] - field + 1, low[1] - field + 1
    small, large = pictures(*high, *low)
    _, _, patches = sampler_over(rows, cols, 9, rows * cols, receptive_field=field)(small, large)
    for k in range(rows * cols):
        row, col = (k // cols + field / 2) * high[0] / low[0], (k % cols + field / 2) * high[1] / low[1]
        torch.testing.assert_close(patches[0, k], cut(large[0], row, col, 9), msg=f"position {k}")


def test_what_a_net_without_padding_finds_is_in_the_middle_of_the_patch() -> None:
    class Brightest(nn.Module):
        """The mean of 3 x 3 pixels, no padding, sharply: attention where the view is bright."""

        def forward(self, low: Tensor) -> Tensor:
            seen = 1000 * functional.avg_pool2d(low, 3, stride=1)
            return seen.flatten(1).softmax(1).view_as(seen)

    for row, col in [(4, 4), (20, 36), (52, 44)]:
        high = torch.zeros(1, 1, 64, 64)
        high[0, 0, row : row + 12, col : col + 12] = 1
        sampling = attention_sampling(Brightest(), nn.Flatten(), 12, 1, receptive_field=3)
        features, _, patches = sampling(functional.avg_pool2d(high, 4), high)
        assert patches.mean() == 1
        assert features.sum() == pytest.approx(144, rel=1e-4)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "with-replacement"])
@pytest.mark.parametrize("tiles", [12, 17])
def test_with_every_position_drawn_it_is_the_full_expectation(sampler: str, tiles: int) -> None:
    small, large = pictures(24, 21, 4, 3)
    sampling = sampler_over(4, 3, 6, tiles, sampler=sampler)
    features, attention, patches = sampling(small, large)
    assert patches.shape == (2, tiles, 2, 6, 6)
    parameters = list(sampling.parameters())
    probe = torch.randn(2, 3, dtype=torch.float64)
    sampled = torch.autograd.grad((features * probe).sum(), parameters)

    attention = sampling.attention(small)
    everywhere = [cut(large[b], (k // 3 + 0.5) * 6, (k % 3 + 0.5) * 7, 6) for b in range(2) for k in range(12)]
    each = sampling.feature(torch.stack(everywhere)).view(2, 12, 3)
    full = (attention.flatten(1)[..., None] * each).sum(1)
    torch.testing.assert_close(features, full, rtol=0, atol=1e-12)
    for ours, exact in zip(sampled, torch.autograd.grad((full * probe).sum(), parameters), strict=True):
        torch.testing.assert_close(ours, exact, rtol=0, atol=1e-12)


@pytest.mark.integration
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_each_sampler_is_right_on_average(sampler: str) -> None:
    small, large = pictures(24, 21, 4, 3)
    exact = sampler_over(4, 3, 6, 12)(small, large).features
    sampling = sampler_over(4, 3, 6, 3, sampler=sampler)
    with torch.no_grad():
        runs = torch.stack([sampling(small, large).features for _ in range(1500)])
    error = (runs.mean(0) - exact).abs()
    assert runs.std(0).max() > 0
    assert (error <= 5 * runs.std(0) / 1500**0.5 + 1e-12).all()


def test_only_with_replacement_draws_a_patch_twice() -> None:
    small, large = pictures(24, 21, 4, 3)
    logits = torch.zeros(2, 4, 3)
    logits[:, 1, 1] = 12
    for sampler, alone in (("systematic", False), ("without-replacement", False), ("with-replacement", True)):
        sampling = attention_sampling(Given(logits), nn.Flatten(), 6, 4, sampler=sampler)
        drawn = {tuple(patch.flatten().tolist()) for patch in sampling(small, large).patches[0]}
        # A tile drawn four times is read once; the three places left are fillers, cut at the first position.
        assert len(drawn) == (2 if alone else 4)


def test_the_same_generator_gives_the_same_patches_and_torch_s_own_is_left_alone() -> None:
    small, large = pictures(40, 40, 10, 10)
    before = torch.random.get_rng_state()
    runs = [sampler_over(10, 10, 4, 5, rng=np.random.default_rng(seed))(small, large).patches for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    torch.random.set_rng_state(before)
    sampling = sampler_over(10, 10, 4, 5)
    after = torch.random.get_rng_state()
    assert not torch.equal(sampling(small, large).patches, sampling(small, large).patches), "a fresh draw each time"
    assert torch.equal(torch.random.get_rng_state(), after)


def test_the_regulariser_s_value_is_kept_for_the_loss() -> None:
    small, large = pictures(24, 21, 4, 3)
    assert sampler_over(4, 3, 6, 2)(small, large) and sampler_over(4, 3, 6, 2).penalty is None
    sampling = sampler_over(4, 3, 6, 2, attention_regulariser=entropy_penalty(0.1))
    attention = sampling(small, large).attention.detach().numpy()
    assert sampling.penalty is not None
    assert float(sampling.penalty.detach()) == pytest.approx(0.1 * (attention * np.log(attention)).sum() / 2)
    # Descending on it spreads the attention.
    (slope,) = torch.autograd.grad(sampling.penalty, [sampling.attention.logits])
    with torch.no_grad():
        sampling.attention.logits -= 10 * slope
    before = float(sampling.penalty.detach())
    sampling(small, large)
    assert float(sampling.penalty.detach()) < before


def test_a_position_that_is_impossible_does_not_spoil_the_gradients() -> None:
    small, large = pictures(24, 21, 4, 3)
    sampling = sampler_over(4, 3, 6, 12, attention_regulariser=entropy_penalty(0.1))
    with torch.no_grad():
        sampling.attention.logits[:, 0] = -torch.inf
    features, _, _ = sampling(small, large)
    (features.sum() + sampling.penalty).backward()
    for parameter in sampling.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize(
    "attention",
    [torch.rand(2, 4, 3), torch.full((2, 4, 3), torch.nan), torch.full((2, 4, 3), -1 / 12)],
    ids=["sums to something else", "nan", "negative"],
)
def test_what_is_no_distribution_is_refused(attention: Tensor) -> None:
    net = nn.Identity()
    net.forward = lambda _: attention  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="sum to 1"):
        attention_sampling(net, nn.Flatten(), 6, 2)(*pictures(24, 21, 4, 3))


@pytest.mark.parametrize("shape", [(2, 12), (1, 4, 3), (2, 2, 4, 3)])
def test_a_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    net = nn.Identity()
    net.forward = lambda _: torch.full(shape, 1 / 12)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="rows, cols"):
        attention_sampling(net, nn.Flatten(), 6, 2)(*pictures(24, 21, 4, 3))


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(AtsError, match="dice"):
        sampler_over(4, 3, 6, 2, sampler="dice")(*pictures(24, 21, 4, 3))


@pytest.mark.integration
def test_the_examples_of_the_documentation_learn_and_give_the_same_every_time() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOC.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    examples = [block for block in blocks if "import" in block]
    assert len(examples) == 2, "from a whole attention map, and from a network and a view"
    runs: list[dict[str, Any]] = [{}, {}]
    for example in examples:
        for names in runs:
            exec(compile(example, str(DOC), "exec"), names)
        assert runs[0]["accuracy"] >= 0.95
        assert torch.equal(runs[0]["head"].weight, runs[1]["head"].weight)
        assert torch.equal(runs[0]["patches"], runs[1]["patches"])
