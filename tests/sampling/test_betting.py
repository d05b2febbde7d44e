"""Stopping keeps its promise: at most alpha wrong, whenever one looks."""

import numpy as np
import pytest

from ats_cli.sampling import Betting, draw, lowest_margins


def run(one, terms, betting):
    for position, attention in zip(one.positions, one.attention, strict=True):
        if betting.update(terms[position], attention) is not None:
            break
    return betting.settled


def field(rng, side=16):
    """A smooth random field: white noise summed over windows."""
    white = rng.normal(size=(side + 6, side + 6))
    return np.lib.stride_tricks.sliding_window_view(white, (7, 7)).mean((2, 3)) * 7


@pytest.mark.integration
@pytest.mark.parametrize("sharpness", [0.3, 1.5, 4.0, 8.0])
def test_a_tie_is_settled_either_way_at_most_as_often_as_promised(sharpness):
    rng = np.random.default_rng(int(10 * sharpness))
    attention = np.exp(sharpness * field(rng))
    attention /= attention.sum()
    margin = np.tanh(field(rng)).ravel()
    # The biases make the margin over the whole map exactly 0: both nulls hold, each may fall in alpha of the runs.
    biases = np.array([-(attention.ravel() @ margin), 0.0])
    terms = np.stack([margin, np.zeros_like(margin)], axis=1)
    lowest = np.array([[0.0, -1.0], [-1.0, 0.0]])
    settled = [run(draw(attention, 64, "murthy", rng), terms, Betting(lowest, biases, alpha=0.1)) for _ in range(300)]
    assert settled.count(0) / 300 <= 0.1
    assert settled.count(1) / 300 <= 0.1


def test_clear_slides_are_settled_early_and_rightly():
    rng = np.random.default_rng(0)
    attention = np.exp(2 * field(rng))
    attention /= attention.sum()
    head, biases = rng.normal(size=(4, 8)), np.array([0.1, -0.2, 0.0, 0.1])
    for winner in range(4):
        direction = head[winner] - head.mean(0)
        features = rng.normal(size=(256, 8)) + 5 * direction / np.linalg.norm(direction)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        terms = features @ head.T
        assert np.argmax(attention.ravel() @ terms + biases) == winner
        betting = Betting(lowest_margins(head), biases)
        assert run(draw(attention, 200, "murthy", rng), terms, betting) == winner
        assert betting.tiles < 100


def test_a_settled_class_stays():
    betting = Betting(np.array([[0.0, -1.0], [-1.0, 0.0]]), np.zeros(2))
    assert betting.update(np.array([1.0, 0.0]), 0.8) == 0, "what is left could not turn it: 0.8 > 0.2"
    assert betting.update(np.array([0.0, 1.0]), 0.2) == 0
    assert betting.tiles == 1


def test_biases_alone_can_be_certain_of_nothing_they_cannot_know():
    lowest = np.array([[0.0, -1.0], [-1.0, 0.0]])
    # A bias beyond what all tiles together could turn is certain after any tile; a smaller one is not.
    assert Betting(lowest, np.array([1.1, 0.0])).update(np.zeros(2), 1e-9) == 0
    assert Betting(lowest, np.array([0.9, 0.0])).update(np.zeros(2), 1e-9) is None


def test_when_everything_is_read_the_sign_decides_and_a_tie_stays_open():
    lowest = np.array([[0.0, -1.0], [-1.0, 0.0]])
    for bias, settled in [(0.0, None), (0.05, 0), (-0.05, 1)]:
        betting = Betting(lowest, np.array([bias, 0.0]), alpha=1e-9)
        betting.update(np.array([0.6, 0.0]), 0.5)
        assert betting.update(np.array([0.0, 0.6]), 0.5) == settled


def test_classes_with_the_same_head_differ_by_their_bias_alone():
    head = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    betting = Betting(lowest_margins(head), np.array([0.0, 0.1, 0.0]))
    with np.errstate(all="raise"):
        for _ in range(9):
            betting.update(head @ [1.0, 0.0], 0.1)
    assert betting.settled == 1


def test_bounds_hold_and_are_reached():
    rng = np.random.default_rng(0)
    head = 5 * rng.normal(size=(3, 4))
    features = rng.normal(size=(20_000, 4))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    for f, non_negative in [(features, False), (np.abs(features), True)]:
        terms = f @ head.T
        least = (terms[:, :, None] - terms[:, None, :]).min(0)
        bound = lowest_margins(head, non_negative=non_negative)
        assert np.all(bound <= least + 1e-12)
        # Features may have no length at all, so the least is never above 0.
        np.testing.assert_allclose(bound, np.minimum(least, 0), rtol=0.1, atol=0.1)


def test_a_bound_that_is_none_is_refused():
    betting = Betting(np.array([[0.0, -1.0], [-1.0, 0.0]]), np.zeros(2))
    with pytest.raises(ValueError, match="below its lowest"):
        betting.update(np.array([1.5, 0.0]), 0.1)


@pytest.mark.parametrize(("lowest", "biases", "alpha"), [((2, 2), 2, 0), ((2, 2), 3, 0.1), ((1, 1), 1, 0.1)])
def test_nonsense_is_refused(lowest, biases, alpha):
    with pytest.raises(ValueError, match="must be"):
        Betting(-np.ones(lowest), np.zeros(biases), alpha)


@pytest.mark.integration
def test_whatever_unreadable_tiles_would_have_shown_the_promise_holds():
    rng = np.random.default_rng(5)
    attention = np.exp(1.5 * field(rng))
    attention /= attention.sum()
    flat = attention.ravel()
    lost = field(rng).ravel() > 0.8
    assert 0.05 < flat[lost].sum() < 0.6
    margin = np.tanh(field(rng)).ravel()
    # The worst case for class 0: the tiles that nobody can read all speak against it, and make it a tie.
    margin[lost] = -1
    biases = np.array([-(flat @ margin), 0.0])
    terms = np.stack([margin, np.zeros_like(margin)], axis=1)
    lowest = np.array([[0.0, -1.0], [-1.0, 0.0]])
    settled = []
    for _ in range(300):
        betting = Betting(lowest, biases, alpha=0.1)
        one = draw(attention, 64, "murthy", rng)
        for position, weight in zip(one.positions, one.attention, strict=True):
            betting.update(None if lost[position] else terms[position], weight)
        settled.append(betting.settled)
    assert settled.count(0) / 300 <= 0.1


def test_a_class_is_settled_over_unreadable_tiles_where_they_could_not_turn_it():
    lowest = np.array([[0.0, -1.0], [-1.0, 0.0]])
    for first, lost, settled in [(0.6, 0.3, 0), (0.45, 0.5, None)]:
        betting = Betting(lowest, np.zeros(2), alpha=1e-9)
        betting.update(np.array([1.0, 0.0]), first)
        assert betting.update(None, lost) == settled
