"""Intervals of the sampling error hold the answer of all positions, also where it rests on few tiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from ats_cli.registry import TASKS
from ats_cli.sampling import draw, effective_tiles, half_width, ratio_standard_error, ratio_weights
from ats_cli.sampling.interval import unseen_weight
from ats_cli.sampling.murthy_weights import murthy_unseen, murthy_weights
from ats_cli.t_quantile import t_quantile

WITH_ERROR = ("pivotal", "murthy", "without-replacement", "with-replacement")
SIDE = 64


@settings(max_examples=60, deadline=None)
@given(st.floats(3, 300))
def test_quantiles_of_t_are_those_of_scipy(df: float) -> None:
    assert t_quantile(0.975, df) == pytest.approx(t.ppf(0.975, df), rel=2e-3)


@pytest.mark.parametrize("df", [1.0, 2.0])
def test_few_degrees_of_freedom_are_exact_and_between_them_the_wider_counts(df: float) -> None:
    assert t_quantile(0.975, df) == pytest.approx(t.ppf(0.975, df))
    assert t_quantile(0.975, df + 0.7) >= t.ppf(0.975, df + 0.7)


def rare_evidence(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention (64, 64), gates and terms (4096,) of a slide with evidence in 2 % of the area, in clusters."""
    rng = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(SIDE)
    smooth = np.exp(-900 * (frequency[:, None] ** 2 + frequency[None] ** 2) / 2)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * smooth).real.ravel()
    evidence = field > np.quantile(field, 0.98)
    attention = np.exp(2 * evidence + 0.5 * rng.normal(size=SIDE**2))
    gates = 0.02 + 0.98 / (1 + np.exp(-2 * (np.where(evidence, 2, -2) + rng.normal(size=SIDE**2))))
    terms = np.clip(np.where(evidence, 1.0, -0.6) + 0.4 * rng.normal(size=SIDE**2), -2, 2)
    return (attention / attention.sum()).reshape(SIDE, SIDE), gates, terms


def covered(sampler: str, tiles: int, gated: bool, draws: int) -> tuple[float, float]:
    """The share of intervals that hold the answer of all positions: as they are, and of the standard error alone."""
    held, held_by_error = [], []
    for seed in range(4):
        attention, gates, terms = rare_evidence(seed)
        gates = gates if gated else np.ones_like(gates)
        whole = attention.ravel() * gates
        truth = whole @ terms / whole.sum()
        rng = np.random.default_rng(seed)
        for _ in range(draws // 4):
            one = draw(attention, tiles, sampler, rng)
            g, z = gates[one.positions], terms[one.positions]
            estimate = ratio_weights(one.weights, g) @ z
            found = ratio_standard_error(one, z, g)
            assert found.se is not None and found.df is not None
            width = half_width(one, g, found, np.array([estimate]), np.array([-2.0]), np.array([2.0]))
            assert width is not None
            held.append(abs(estimate - truth) <= width[0])
            held_by_error.append(abs(estimate - truth) <= t_quantile(0.975, found.df) * found.se)
    return float(np.mean(held)), float(np.mean(held_by_error))


@pytest.mark.integration
@pytest.mark.parametrize("sampler", WITH_ERROR)
def test_with_a_gate_intervals_of_few_tiles_hold_where_the_standard_error_alone_does_not(sampler: str) -> None:
    with_one_more, alone = covered(sampler, 10, True, 400)
    assert with_one_more >= 0.94 and alone < 0.85


@pytest.mark.integration
@pytest.mark.parametrize("sampler", WITH_ERROR)
def test_without_a_gate_they_hold_too(sampler: str) -> None:
    assert covered(sampler, 25, False, 400)[0] >= 0.93  # 400 draws have a noise of 0.01


def test_no_interval_without_an_error_and_none_wide_where_everything_is_drawn() -> None:
    attention, gates, terms = rare_evidence(0)
    for tiles, sampler in ((5, "systematic"), (1, "pivotal")):
        one = draw(attention, tiles, sampler, np.random.default_rng(0))
        z, g = terms[one.positions, None], gates[one.positions]
        assert half_width(one, g, ratio_standard_error(one, z, g), np.zeros(1), -np.ones(1), np.ones(1)) is None
    for sampler in ("pivotal", "murthy"):
        one = draw(attention, SIDE**2, sampler, np.random.default_rng(0))
        z, g = terms[one.positions, None], gates[one.positions]
        width = half_width(one, g, ratio_standard_error(one, z, g), np.zeros(1), -np.ones(1), np.ones(1))
        assert width is not None and width[0] == 0 and unseen_weight(one) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6))
def test_the_unseen_tile_of_murthy_is_one_more_tile_of_next_to_no_attention(tiles: int, seed: int) -> None:
    attention = np.random.default_rng(seed).dirichlet(np.ones(20))[:tiles]
    with_one_more = murthy_weights(np.append(attention, 1e-13))[-1]
    # The sample with it is another sample: its threshold is that of one tile more.
    assert 0.5 * with_one_more <= murthy_unseen(attention) <= 2 * with_one_more * (1 + 1 / tiles)


def test_effective_tiles_count_what_the_answer_rests_on() -> None:
    assert effective_tiles(np.full(25, 0.04)) == pytest.approx(25)
    assert effective_tiles(np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=6), st.sampled_from(list(TASKS)))
def test_the_scale_of_intervals_is_the_answer_s_and_its_gradient_is_true(logits: list[float], task: str) -> None:
    """Mapped back it is the answer; the gradient is that of small differences."""
    z, member = np.array(logits), TASKS[task]
    answers, gradient = member.to_interval_scale(z)
    expected = member.probabilities(z)
    np.testing.assert_allclose(member.from_interval_scale(answers), z if expected is None else expected, atol=1e-12)
    if np.isfinite(answers).all():
        small = 1e-5 * np.eye(len(z))
        up, down = (np.array([member.to_interval_scale(z + side * row)[0] for row in small]) for side in (1, -1))
        np.testing.assert_allclose(gradient, (up - down) / 2e-5, atol=1e-5)


def test_a_task_with_other_probabilities_has_the_intervals_of_these() -> None:
    """It is made from another and changes what a probability is: its log-odds follow."""

    class Sigmoids(type(TASKS["multi-class"])):  # type: ignore[misc]
        def probabilities(self, logits):
            return TASKS["multi-label"].probabilities(logits)

        def probability_gradient(self, terms, probabilities):
            return TASKS["multi-label"].probability_gradient(terms, probabilities)

        def complement(self, probabilities):
            return 1 - probabilities

    for found, expected in zip(
        Sigmoids().to_interval_scale(np.array([0.5, -2.0, 1.0])),
        TASKS["multi-label"].to_interval_scale(np.array([0.5, -2.0, 1.0])),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-12)
