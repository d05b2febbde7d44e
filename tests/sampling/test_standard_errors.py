"""Variances that are called unbiased are so over every sample; the others are near in simulation."""

import itertools

import numpy as np
import pytest
from enumerators import with_replacement_samples, without_replacement_samples
from test_pivotal import by_stretches
from test_unbiased import MAPS

from ats_cli.registry import SAMPLERS
from ats_cli.sampling import Draw, draw, standard_error
from ats_cli.sampling.differences import FIRST, THIRD, difference_variance
from ats_cli.sampling.murthy_weights import murthy_weights
from ats_cli.tasks.multi_class import TASK as MULTI_CLASS

# Maps whose smallest samples leave more than rounding outside.
PROPER = ("spread", "peaked", "ties", "six")


def features(size, columns=3):
    return np.random.default_rng(size).normal(size=(size, columns))


def merged(drawn, attention):
    """An ordered sample with replacement as a Draw, and the positions it holds."""
    positions, draws = np.unique(drawn, return_counts=True)
    return Draw(positions, attention[positions], draws / len(drawn), draws, "with-replacement", replacement=True)


def ordered_samples(name, tiles, sampler):
    """(Draw, probability) of every ordered sample."""
    attention = MAPS[name]
    if sampler == "with-replacement":
        for drawn, _, probability in with_replacement_samples(attention, tiles):
            yield merged(drawn, attention), probability
    else:
        for drawn, _, probability in without_replacement_samples(attention, tiles):
            yield SAMPLERS[sampler].prefix(drawn, attention[drawn], complete=False), probability


@pytest.mark.integration
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("tiles", [1, 2, 3, 4])
def test_murthy_weights_average_to_the_attention(name, tiles):
    if name == "extreme" and tiles == 4:
        pytest.skip("what is left after three draws is rounding: the samples' probabilities are not known")
    attention = MAPS[name]
    average = np.zeros_like(attention)
    for drawn, _, probability in without_replacement_samples(attention, min(tiles, np.count_nonzero(attention))):
        weights = murthy_weights(attention[drawn])
        assert weights.sum() == pytest.approx(1, abs=1e-9)
        average[drawn] += probability * weights
    np.testing.assert_allclose(average, attention, atol=1e-9)


@pytest.mark.parametrize("tiles", [2, 3, 4])
def test_murthy_is_des_raj_averaged_over_the_orders(tiles):
    attention = MAPS["six"]
    of_set, averages = {}, {}
    for drawn, weights, probability in without_replacement_samples(attention, tiles):
        key = frozenset(drawn.tolist())
        of_set[key] = of_set.get(key, 0) + probability
        averages[key] = averages.get(key, 0) + probability * np.bincount(drawn, weights, len(attention))
    for key, probability in of_set.items():
        drawn = np.array(sorted(key))
        np.testing.assert_allclose(murthy_weights(attention[drawn]), averages[key][drawn] / probability, atol=1e-9)


@pytest.mark.integration
@pytest.mark.parametrize("name", PROPER)
@pytest.mark.parametrize("tiles", [2, 3, 4])
@pytest.mark.parametrize("sampler", ["with-replacement", "without-replacement", "murthy"])
def test_unbiased_variances_average_to_the_squared_error(name, tiles, sampler):
    if sampler != "with-replacement" and tiles == len(MAPS[name]):
        pytest.skip("every position is drawn: no error")
    f = features(len(MAPS[name]))
    truth, variance, squares = MAPS[name] @ f, 0.0, 0.0
    for one, probability in ordered_samples(name, tiles, sampler):
        # One sample may happen to be all of a map for the other schemes; with replacement that is luck.
        se, kind, df = standard_error(one, f[one.positions])
        assert kind == "unbiased" and df == tiles - 1
        variance = variance + probability * se**2
        squares = squares + probability * (one.weights @ f[one.positions] - truth) ** 2
    np.testing.assert_allclose(variance, squares, rtol=1e-6)


def test_murthys_variance_is_the_textbook_double_sum():
    """v = sum_{i<j} P(S|i,j first) P(S) - P(S|i first) P(S|j first), over P(S)^2, a_i a_j (f_i - f_j)^2."""
    attention, f = MAPS["six"], features(6, 1)[:, 0]
    chosen = [0, 2, 3]
    probability, first, two = 0.0, dict.fromkeys(chosen, 0.0), {}
    for drawn, _, p in without_replacement_samples(attention, 3):
        i, j, _ = drawn.tolist()
        if set(drawn.tolist()) == set(chosen):
            probability += p
            first[i] += p / attention[i]
            two[frozenset((i, j))] = two.get(frozenset((i, j)), 0.0) + p
    expected = 0.0
    for i, j in [(0, 2), (0, 3), (2, 3)]:
        # Given that i and j come first, in either order.
        ways = attention[i] * attention[j] * (1 / (1 - attention[i]) + 1 / (1 - attention[j]))
        given = two[frozenset((i, j))] / ways
        gap = (f[i] - f[j]) ** 2
        expected += (given * probability - first[i] * first[j]) / probability**2 * attention[i] * attention[j] * gap
    one = SAMPLERS["murthy"].prefix(np.array(chosen), attention[chosen], complete=False)
    assert standard_error(one, f[chosen]).se ** 2 == pytest.approx(expected, rel=1e-6)


@pytest.mark.integration
def test_pivotal_errors_are_near_the_truth():
    rng = np.random.default_rng(0)
    row, col = np.indices((20, 20)) / 20
    attention = np.exp(2 * np.sin(5 * row) + rng.normal(size=(20, 20)) / 2)
    attention /= attention.sum()
    f = (np.sin(3 * col + row) + rng.normal(size=(20, 20)) / 2).ravel()
    truth = attention.ravel() @ f
    variance, squares, runs = 0.0, 0.0, 1000
    for _ in range(runs):
        one = draw(attention, 20, "pivotal", rng)
        se, kind, df = standard_error(one, f[one.positions])
        assert kind == "approximate"
        # 15 to 20 of the 20 are random.
        assert 5 < df < 13
        variance += se**2 / runs
        squares += (one.weights @ f[one.positions] - truth) ** 2 / runs
    assert 0.8 < variance / squares < 1.4


@pytest.mark.parametrize("contrast", [FIRST, THIRD])
def test_differences_are_right_where_neighbours_are_nothing_to_each_other(contrast):
    """Even attention: over all orders of the features along the curve, and all samples, v is the squared error."""
    values, many = np.array([0.3, -1.0, 2.0, 0.7, 0.1]), 4
    samples = by_stretches(np.full(len(values), many / len(values)))
    out, weight = np.full(many, 1 - many / len(values)), 1 / many
    variance, squares = 0.0, 0.0
    for f in itertools.permutations(values):
        for sample, probability in samples.items():
            drawn = np.array(f)[sorted(sample)]
            variance += probability * weight**2 * difference_variance(out, drawn[:, None], contrast)[0][0]
            squares += probability * (weight * drawn.sum() - values.mean()) ** 2
    assert variance == pytest.approx(squares, rel=1e-9)


@pytest.mark.parametrize("contrast", [FIRST, THIRD])
def test_degrees_of_freedom_are_those_of_the_quadratic_form(contrast):
    out = np.random.default_rng(0).random(9)
    basis = np.eye(9)

    def form(f):
        return difference_variance(out, f[:, None], contrast)[0][0]

    a = np.array([[(form(x + y) - form(x - y)) / 4 for x in basis] for y in basis])
    assert difference_variance(out, basis, contrast)[1] == pytest.approx(np.trace(a) ** 2 / np.trace(a @ a))


def test_what_changes_smoothly_along_the_curve_is_no_error_where_atoms_are_many():
    """Third differences pass over a parabola; few atoms have first differences, which do not."""
    steps = np.arange(40.0)
    curve = np.column_stack([steps, steps**2])
    assert difference_variance(np.full(40, 0.9), curve, THIRD)[0] == pytest.approx(0, abs=1e-9)
    line = draw(np.full((1, 400), 1 / 400), 40, "pivotal", np.random.default_rng(0))
    few = draw(np.full((1, 400), 1 / 400), 10, "pivotal", np.random.default_rng(0))
    of_many = standard_error(line, line.positions / 400)
    of_few = standard_error(few, few.positions / 400)
    # A stretch of 1/m holds one; within it the position is uniform: m^-1 / sqrt(12), and m^-0.5 for the mean of m.
    assert of_many.se == pytest.approx(40**-1.5 / np.sqrt(12), rel=0.5)
    assert of_few.se > 2 * 10**-1.5 / np.sqrt(12)


@pytest.mark.parametrize("sampler", ["pivotal", "systematic", "murthy", "without-replacement"])
def test_nothing_is_uncertain_when_everything_is_drawn(sampler):
    attention = np.array([[0.5, 0.0], [0.2, 0.3]])
    for tiles in (3, 4, 100):
        one = draw(attention, tiles, sampler, np.random.default_rng(0))
        np.testing.assert_allclose(one.weights, one.attention)
        se, kind, _ = standard_error(one, features(3))
        assert kind == "unbiased" and se.tolist() == [0, 0, 0]


@pytest.mark.parametrize("sampler", ["pivotal", "systematic", "murthy", "without-replacement", "with-replacement"])
def test_one_tile_tells_no_error(sampler):
    one = draw(np.full((3, 3), 1 / 9), 1, sampler, np.random.default_rng(0))
    assert standard_error(one, features(1)) == (None, None, None)


def test_systematic_draws_tell_no_error():
    one = draw(np.full((3, 3), 1 / 9), 5, "systematic", np.random.default_rng(0))
    assert standard_error(one, features(5)).se is None


def test_one_random_atom_beside_certain_ones_tells_no_error():
    attention = np.array([[0.5, 0.46, 0.01, 0.01, 0.01, 0.01]])
    rng = np.random.default_rng(0)
    assert standard_error(draw(attention, 3, "pivotal", rng), features(3)) == (None, None, None)
    assert standard_error(draw(attention, 4, "pivotal", rng), features(4)).df == pytest.approx(1)


def test_a_position_that_holds_all_attention_is_certain():
    attention = np.array([[0.0, 1.0]])
    for sampler in ("pivotal", "murthy", "with-replacement"):
        assert standard_error(draw(attention, 5, sampler, np.random.default_rng(0)), features(1)).se.tolist() == [0] * 3


@pytest.mark.parametrize("sampler", ["pivotal", "murthy", "without-replacement", "with-replacement"])
def test_dust_beside_certain_atoms(sampler):
    attention = np.full(10_000, 1e-18)
    attention[[17, 4000]] = 0.5
    attention /= attention.sum()
    for seed in range(10):
        one = draw(attention.reshape(100, 100), 5, sampler, np.random.default_rng(seed))
        assert one.weights.sum() == pytest.approx(1)
        se = standard_error(one, np.linspace(-1, 1, len(one.positions))).se
        assert np.isfinite(se)
        # Only these know that the dust hardly matters; the others' estimates depend on the order of drawing.
        assert se < 1e-9 or sampler in ("without-replacement", "with-replacement")


@pytest.mark.parametrize("sampler", ["pivotal", "systematic", "murthy", "without-replacement", "with-replacement"])
def test_float32_maps_and_values_are_worked_on_in_float64(sampler):
    attention = np.random.default_rng(0).gamma(0.1, size=(30, 30)).astype(np.float32)
    attention /= attention.sum()
    one = draw(attention, 8, sampler, np.random.default_rng(0))
    assert one.weights.dtype == np.float64 and one.sampler == sampler
    assert one.weights.sum() == pytest.approx(1, abs=1e-9)
    se = standard_error(one, features(len(one.positions)).astype(np.float32)).se
    assert se is None if sampler == "systematic" else se.dtype == np.float64


def test_values_have_the_shape_asked_for():
    one = draw(np.full((5, 5), 0.04), 6, "murthy", np.random.default_rng(0))
    assert standard_error(one, features(6)[:, 0]).se.shape == ()
    assert standard_error(one, features(6)).se.shape == (3,)
    with pytest.raises(ValueError, match="7 values for 6 tiles"):
        standard_error(one, features(7))


def test_probabilities_move_as_their_gradient_says():
    rng = np.random.default_rng(0)
    terms, weights = rng.normal(size=(6, 4)), rng.dirichlet(np.ones(6))

    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum()

    gradient = MULTI_CLASS.probability_gradient(terms, softmax(weights @ terms))
    for i in range(6):
        step = 1e-6 * np.eye(6)[i]
        slope = (softmax((weights + step) @ terms) - softmax((weights - step) @ terms)) / 2e-6
        np.testing.assert_allclose(gradient[i], slope, atol=1e-8)
    # What one probability gains, the others lose.
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-12)


@pytest.mark.integration
def test_errors_of_probabilities_are_near_the_truth():
    rng = np.random.default_rng(5)
    attention = rng.gamma(1, size=(15, 15))
    attention /= attention.sum()
    z = rng.normal(size=(225, 3))

    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum()

    draws = [draw(attention, 40, "murthy", rng) for _ in range(400)]
    found = np.array([softmax(one.weights @ z[one.positions]) for one in draws])
    errors = np.array(
        [
            standard_error(one, MULTI_CLASS.probability_gradient(z[one.positions], p)).se
            for one, p in zip(draws, found, strict=True)
        ]
    )
    np.testing.assert_allclose(np.sqrt((errors**2).mean(0)), found.std(0), rtol=0.15)
