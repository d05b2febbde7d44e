"""The short form of the ordered pivotal method draws every sample with the probability that the long one gives it."""

from itertools import pairwise, product

import numpy as np
import pytest
from test_unbiased import MAPS

from ats_cli.sampling import draw
from ats_cli.sampling.samplers.inclusion import certain_and_rest, threshold
from ats_cli.sampling.samplers.pivotal import duels, pivotal
from ats_cli.sampling.samplers.systematic import systematic


def by_definition(pi):
    """{sample: probability} of the ordered pivotal method, duel by duel (Deville and Tillé 1998)."""
    outcomes = {}

    def fight(standing, p, unit, drawn, probability):
        """`standing`, undecided with probability `p`, meets `unit` and those after it."""
        if probability == 0:
            return
        while unit < len(pi) and pi[unit] == 0:
            unit += 1
        if unit == len(pi):
            # The probabilities add up to a whole number: the last is decided, but for rounding.
            sample = drawn | {standing} if round(p) else drawn
            outcomes[sample] = outcomes.get(sample, 0.0) + probability
            return
        q = pi[unit]
        if p + q < 1 - 1e-12:
            fight(standing, p + q, unit + 1, drawn, probability * p / (p + q))
            fight(unit, p + q, unit + 1, drawn, probability * q / (p + q))
        else:
            rest = max(p + q - 1, 0.0)
            fight(unit, rest, unit + 1, drawn | {standing}, probability * (1 - q) / (2 - p - q))
            fight(standing, rest, unit + 1, drawn | {unit}, probability * (1 - p) / (2 - p - q))

    fight(None, 0.0, 0, frozenset(), 1.0)
    return outcomes


def by_stretches(pi):
    """The same of `duels`: what it draws is constant between the breakpoints of its random numbers."""
    cumulative = np.cumsum(pi)
    many = round(cumulative[-1])
    cells = []
    for j in range(many):
        crossing = np.flatnonzero(cumulative >= (j + 1) * cumulative[-1] / many - 1e-12)[0]
        before = cumulative[crossing] - pi[crossing]
        edges = (np.concatenate([[j], cumulative[:crossing], [before]]) - j) / max(before - j, 1e-300)
        edges = np.unique(np.clip(np.concatenate([[0, 1], edges]), 0, 1))
        turn = np.clip((j + 1 - before) / (1 - (cumulative[crossing] - j - 1)), 0, 1)
        cells.append(
            [
                ((low + high) / 2, (left + right) / 2, (high - low) * (right - left))
                for (low, high), (left, right) in product(pairwise(edges), pairwise([0.0, turn, 1.0]))
                if (high - low) * (right - left) > 1e-14
            ]
        )
    outcomes = {}
    for cell in product(*cells):
        choice, chance, probabilities = (np.array(column) for column in zip(*cell, strict=True))
        drawn = duels(cumulative, choice, chance).tolist()
        assert len(set(drawn)) == many, "a unit was drawn twice"
        sample = frozenset(drawn)
        outcomes[sample] = outcomes.get(sample, 0.0) + float(np.prod(probabilities))
    return outcomes


PROBABILITIES = {
    "even": [0.5, 0.5, 0.5, 0.5],
    "cuts between units": [0.25, 0.75, 0.5, 0.5, 0.6, 0.4],
    "two cuts with nobody between": [0.3, 0.9, 0.9, 0.9],
    "large": [0.9, 0.95, 0.15, 0.99, 0.01],
    "zeros": [0.0, 0.4, 0.0, 0.7, 0.0, 0.9, 0.0],
    "one": [0.1, 0.2, 0.3, 0.4],
    "mixed": [0.31, 0.62, 0.2, 0.77, 0.05, 0.55, 0.5],
    "small first": [1e-6, 0.7, 0.3 - 1e-6, 0.8, 0.2],
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_every_sample_has_the_probability_of_the_definition(name):
    pi = np.array(PROBABILITIES[name])
    expected, got = by_definition(pi), by_stretches(pi)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-12)
    for sample in expected.keys() | got.keys():
        assert got.get(sample, 0.0) == pytest.approx(expected.get(sample, 0.0), abs=1e-12), sorted(sample)


@pytest.mark.parametrize("seed", range(30))
def test_the_same_for_random_probabilities(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 7))
    many = int(rng.integers(1, size))
    attention = rng.gamma(rng.choice([0.3, 1, 5]), size=size)
    attention /= attention.sum()
    lam = threshold(attention, many)
    pi = attention[attention < lam] / lam
    expected, got = by_definition(pi), by_stretches(pi)
    for sample in expected.keys() | got.keys():
        assert got.get(sample, 0.0) == pytest.approx(expected.get(sample, 0.0), abs=1e-11)
    inclusion = np.zeros(len(pi))
    for sample, probability in got.items():
        inclusion[list(sample)] += probability
    np.testing.assert_allclose(inclusion, pi, atol=1e-11)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("tiles", [1, 2, 3, 4])
def test_weights_average_to_the_attention(name, tiles):
    """Certain atoms at their attention, the others at lambda with probability attention / lambda."""
    attention = MAPS[name]
    if tiles >= np.count_nonzero(attention):
        pytest.skip("every position is drawn: nothing is random")
    order = np.random.default_rng(tiles).permutation(len(attention))
    along, certain, cumulative, many = certain_and_rest(attention, tiles, order)
    average = np.where(certain, along, 0.0)
    if many:
        lam = cumulative[-1] / many
        for sample, probability in by_stretches(np.where(certain, 0, along) / lam).items():
            average[list(sample)] += probability * lam
    np.testing.assert_allclose(average, along, atol=1e-9)


def test_certain_atoms_are_always_in_and_no_position_twice():
    rng = np.random.default_rng(1)
    attention = rng.gamma(0.05, size=(40, 50))
    attention[rng.random((40, 50)) < 0.3] = 0
    attention /= attention.sum()
    for tiles in (1, 2, 30, 500):
        lam = threshold(attention.ravel(), tiles)
        certain = set(np.flatnonzero(attention.ravel() >= lam).tolist())
        for _ in range(20):
            one = draw(attention, tiles, "pivotal", rng)
            assert len(set(one.positions.tolist())) == tiles
            assert certain <= set(one.positions.tolist())
            assert np.all(one.attention > 0)
            np.testing.assert_allclose(one.weights, np.maximum(one.attention, lam), rtol=1e-8)


@pytest.mark.parametrize("sampler", [pivotal, systematic])
def test_atoms_that_fill_the_budget_leave_no_chance(sampler):
    """Beside three atoms, dust that rounding swallows: lambda would be 0 / 0."""
    attention = np.array([0.2, 1e-25, 0.7, 1e-25, 0.1])
    chance = np.random.default_rng(0) if sampler is pivotal else 0.5
    drawn, weights = sampler(attention, 3, np.arange(5), chance)
    assert drawn.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(weights, attention[drawn])


def test_a_million_positions_take_no_million_duels():
    attention = np.random.default_rng(0).gamma(0.2, size=1_000_000)
    attention /= attention.sum()
    drawn, weights = pivotal(attention, 1000, np.arange(1_000_000), np.random.default_rng(1))
    assert len(np.unique(drawn)) == 1000
    assert np.all(np.diff(drawn) > 0)
    assert weights.sum() == pytest.approx(1, abs=1e-12)
