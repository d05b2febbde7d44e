"""The estimates are exact on average: every sample of small maps is enumerated, with its probability."""

import numpy as np
import pytest
from enumerators import systematic_samples, with_replacement_samples, without_replacement_samples

from ats_cli.errors import AtsError
from ats_cli.sampling import draw, slide_rng
from ats_cli.sampling.hilbert import hilbert_order
from ats_cli.sampling.race import race

MAPS = {
    "spread": np.array([0.2, 0.15, 0.3, 0.1, 0.25]),
    "peaked": np.array([0.01, 0.9, 0.04, 0.05]),
    "ties": np.array([0.25, 0.25, 0.25, 0.25]),
    "extreme": np.array([1e-12, 0.6, 1e-6, 0.4 - 1e-6 - 1e-12, 1e-15, 0.0]),
    "six": np.array([0.3, 0.05, 0.2, 0.1, 0.05, 0.3]),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_des_raj_weights_average_to_the_attention(name, tiles):
    attention = MAPS[name]
    average = np.zeros_like(attention)
    for drawn, weights, probability in without_replacement_samples(attention, tiles):
        average[drawn] += probability * weights
    np.testing.assert_allclose(average, attention, atol=1e-9)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("tiles", [1, 2, 3, 4])
def test_systematic_weights_average_to_the_attention(name, tiles):
    attention = MAPS[name]
    if tiles >= np.count_nonzero(attention):
        pytest.skip("every position is drawn: nothing is random")
    rng = np.random.default_rng(tiles)
    for order in [np.arange(len(attention)), rng.permutation(len(attention))]:
        average, total = np.zeros_like(attention), 0.0
        for drawn, weights, probability in systematic_samples(attention, tiles, order):
            assert len(set(drawn)) == tiles, "a tile was drawn twice"
            assert weights.sum() == pytest.approx(1, abs=1e-12)
            average[drawn] += probability * weights
            total += probability
        assert total == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(average, attention, atol=1e-9)


def test_with_replacement_weights_average_to_the_attention():
    attention = MAPS["spread"]
    average = np.zeros(5)
    for drawn, weights, probability in with_replacement_samples(attention, 3):
        np.add.at(average, drawn, probability * weights)
    np.testing.assert_allclose(average, attention, atol=1e-12)


@pytest.mark.integration
def test_the_race_draws_in_the_order_that_the_weights_assume():
    attention = MAPS["spread"]
    rng = np.random.default_rng(0)
    counts: dict[tuple[int, ...], int] = {}
    runs = 20_000
    for _ in range(runs):
        key = tuple(race(attention, 2, rng).tolist())
        counts[key] = counts.get(key, 0) + 1
    for drawn, _, probability in without_replacement_samples(attention, 2):
        sigma = np.sqrt(probability * (1 - probability) / runs)
        assert abs(counts.get(tuple(drawn.tolist()), 0) / runs - probability) < 5 * sigma


@pytest.mark.integration
@pytest.mark.parametrize("sampler", ["systematic", "without-replacement", "with-replacement"])
def test_draws_average_to_the_attention_on_a_map(sampler):
    rng = np.random.default_rng(3)
    attention = rng.gamma(0.3, size=(7, 5))
    attention /= attention.sum()
    average, runs = np.zeros(35), 4000
    for seed in range(runs):
        one = draw(attention, 6, sampler, np.random.default_rng(seed))
        assert one.draws.sum() == 6
        np.testing.assert_allclose(one.attention, attention.ravel()[one.positions], rtol=1e-12)
        average[one.positions] += one.weights / runs
    assert np.abs(average - attention.ravel()).max() < 0.01


@pytest.mark.parametrize("sampler", ["systematic", "without-replacement"])
def test_when_every_position_is_drawn_the_estimate_is_exact(sampler):
    attention = np.array([[0.5, 0.0], [0.2, 0.3]])
    for tiles in (3, 4, 100):
        one = draw(attention, tiles, sampler, np.random.default_rng(0))
        assert sorted(one.positions.tolist()) == [0, 2, 3]
        np.testing.assert_allclose(one.weights, attention.ravel()[one.positions])


def test_a_tile_drawn_twice_is_read_once_and_counts_twice():
    one = draw(np.array([[0.999, 0.001]]), 50, "with-replacement", np.random.default_rng(0))
    assert len(set(one.positions.tolist())) == len(one.positions)
    assert one.draws.sum() == 50
    np.testing.assert_allclose(one.weights, one.draws / 50)


def test_systematic_survives_certain_atoms_that_hold_all_but_dust():
    attention = np.full(10_000, 1e-18)
    attention[[17, 4000]] = 0.5
    attention /= attention.sum()
    for seed in range(20):
        one = draw(attention.reshape(100, 100), 5, "systematic", np.random.default_rng(seed))
        assert len(set(one.positions.tolist())) == 5
        assert {17, 4000} <= set(one.positions.tolist())
        assert one.weights.sum() == pytest.approx(1)


def test_a_slide_gives_the_same_draw_anywhere():
    attention = np.full((20, 20), 1 / 400)
    same = [draw(attention, 10, "systematic", slide_rng(0, "a.svs")).positions.tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert draw(attention, 10, "systematic", slide_rng(0, "b.svs")).positions.tolist() != same[0]
    assert draw(attention, 10, "systematic", slide_rng(1, "a.svs")).positions.tolist() != same[0]
    # The hash is part of the contract: a new release must not change old draws.
    assert slide_rng(0, "a.svs").integers(1 << 30) == RECORDED


RECORDED = 637013570


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (8, 8), (5, 13), (32, 17)])
def test_the_curve_visits_every_position_once(shape):
    order = hilbert_order(*shape)
    assert sorted(order.tolist()) == list(range(shape[0] * shape[1]))


def test_the_curve_moves_one_step_at_a_time_on_a_square():
    row, col = np.divmod(hilbert_order(16, 16), 16)
    assert np.all(np.abs(np.diff(row)) + np.abs(np.diff(col)) == 1)


@pytest.mark.parametrize(
    ("attention", "tiles", "sampler"),
    [
        ([[0.5, 0.6]], 1, "systematic"),
        ([[1.5, -0.5]], 1, "systematic"),
        ([[1.0]], 0, "systematic"),
    ],
)
def test_nonsense_is_refused(attention, tiles, sampler):
    with pytest.raises(ValueError, match=r"."):
        draw(np.array(attention), tiles, sampler, np.random.default_rng(0))


def test_an_unknown_sampler_is_answered_with_the_nearest():
    with pytest.raises(AtsError, match=r"unknown sampler 'pivotl'\. Did you mean pivotal\?"):
        draw(np.ones((1, 1)), 1, "pivotl", np.random.default_rng(0))
