"""Tiles that cannot be read: the ratio over the others, its bias over every sample, and its standard error."""

import numpy as np
import pytest
from enumerators import murthy_samples, systematic_samples, with_replacement_samples, without_replacement_samples
from test_unbiased import MAPS

from ats_cli.sampling import draw, standard_error
from ats_cli.sampling.ratio import mass_lost, ratio_standard_error, ratio_weights

SIX = MAPS["six"]
SCHEMES = {
    "murthy": murthy_samples,
    "without-replacement": without_replacement_samples,
    "with-replacement": with_replacement_samples,
    "systematic": lambda attention, tiles: systematic_samples(attention, tiles, np.arange(len(attention))),
}
READABLE = [(1, 0, 1, 1, 0, 1), (0, 1, 1, 1, 1, 1), (1, 1, 1, 0, 0, 0)]


def ratios(scheme, tiles, readable, f):
    """(F, readable share, probability) of every sample of which anything can be read, and the mean mass lost."""
    found, lost = [], 0.0
    for drawn, weights, probability in SCHEMES[scheme](SIX, tiles):
        r = readable[drawn]
        lost += probability * mass_lost(weights, r)
        if r.any():
            estimate = ratio_weights(weights, r) @ np.where(r, f[drawn], 0)
            found.append((estimate, weights[r].sum(), probability))
    return np.array(found).T, lost


@pytest.mark.integration
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("readable", READABLE)
@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 5])
def test_the_bias_over_every_sample_is_of_order_one_over_n(scheme, readable, tiles):
    r = np.array(readable, bool)
    f = np.random.default_rng(1).normal(size=6)
    share = SIX[r].sum()
    truth = SIX[r] @ f[r] / share
    (estimate, mass, probability), lost = ratios(scheme, tiles, r, f)
    # The mass lost is an estimate without bias, the draws of which nothing can be read included.
    assert lost == pytest.approx(1 - share, abs=1e-9)

    any_read = probability.sum()
    p = probability / any_read
    bias = p @ estimate - truth
    # Hartley and Ross (1954): exactly -Cov(F, mass) / E[mass]. Both spreads fall with the square root of n.
    covariance = p @ (estimate * mass) - (p @ estimate) * (p @ mass)
    assert bias == pytest.approx(-covariance * any_read / share, abs=1e-9)
    assert tiles * abs(bias) <= 0.2 * np.ptp(f[r])
    if tiles == 1 or scheme == "with-replacement":
        assert abs(bias) < 1e-9, "what can be read is then drawn as if there were nothing else"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_all_readable_it_is_the_estimate_itself(scheme):
    f = np.random.default_rng(1).normal(size=6)
    (estimate, _, probability), lost = ratios(scheme, 3, np.ones(6, bool), f)
    assert probability @ estimate == pytest.approx(SIX @ f, abs=1e-9)
    assert lost == 0


def smooth(rng, side, reach):
    white = rng.normal(size=(side + reach, side + reach))
    return np.lib.stride_tricks.sliding_window_view(white, (reach + 1,) * 2).mean((2, 3)) * (reach + 1)


@pytest.mark.integration
@pytest.mark.parametrize("sampler", ["pivotal", "murthy", "without-replacement", "with-replacement"])
@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_standard_error_is_the_spread_of_many_draws(sampler, sharpness):
    rng = np.random.default_rng(3)
    attention = np.exp(sharpness * smooth(rng, 20, 4))
    attention /= attention.sum()
    flat = attention.ravel()
    r = smooth(rng, 20, 4).ravel() > -0.8
    assert 0.6 < flat[r].sum() < 0.95
    # Features lie far from 0: without dividing by the readable mass, its own chance would be all of the error.
    f = np.stack([smooth(rng, 20, 2).ravel() + 3, rng.normal(size=400)], axis=1)
    truth = flat[r] @ f[r] / flat[r].sum()
    f[~r] = 1e9  # what nobody can read is in no figure
    estimates, variances = [], []
    for _ in range(1000):
        one = draw(attention, 40, sampler, rng)
        readable = r[one.positions]
        values = np.where(readable[:, None], f[one.positions], 7e9)
        se, kind, df = ratio_standard_error(one, values, readable)
        by_chance = readable & ((one.weights > one.attention) | (sampler != "pivotal"))
        assert kind == "approximate" and 1 <= df <= one.draws[by_chance].sum() - 1
        estimates.append(ratio_weights(one.weights, readable) @ np.where(readable[:, None], values, 0))
        variances.append(se**2)
    squares = ((np.array(estimates) - truth) ** 2).mean(0)
    ratio = np.mean(variances, axis=0) / squares
    # Successive differences err on the safe side where features are smooth, as they do without damage.
    assert np.all((ratio > 0.85) & (ratio < (1.8 if sampler == "pivotal" else 1.15))), ratio
    assert np.all(np.abs(np.mean(estimates, axis=0) - truth) < 0.15 * squares**0.5)


def test_without_damage_it_is_the_usual_standard_error():
    one = draw(SIX[None], 3, "murthy", np.random.default_rng(0))
    f = np.arange(3.0)
    assert ratio_standard_error(one, f, np.ones(3, bool)) == standard_error(one, f)


@pytest.mark.parametrize("sampler", ["pivotal", "murthy", "without-replacement", "with-replacement", "systematic"])
def test_one_readable_tile_knows_nothing_of_its_error(sampler):
    one = draw(np.full((8, 8), 1 / 64), 5, sampler, np.random.default_rng(0))
    readable = np.zeros(len(one.positions), bool)
    readable[2] = True
    assert ratio_standard_error(one, np.arange(len(readable)), readable).se is None
    with pytest.raises(ValueError, match="no tile"):
        ratio_weights(one.weights, np.zeros(len(readable), bool))


def test_certain_tiles_alone_know_nothing_of_the_others():
    one = draw(np.array([[0.4, 0.4, 0.05, 0.05, 0.05, 0.05]]), 4, "pivotal", np.random.default_rng(0))
    certain = one.weights == one.attention
    assert certain.sum() == 2
    assert ratio_standard_error(one, np.arange(4), certain).se is None


def test_where_every_position_is_drawn_nothing_is_left_to_chance():
    one = draw(SIX[None], 6, "murthy", np.random.default_rng(0))
    readable = np.arange(6) != 2
    assert ratio_standard_error(one, np.arange(6.0), readable).se == 0
