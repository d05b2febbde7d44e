"""A draw that is fed in blocks is the draw over the whole."""

import numpy as np
import pytest
from enumerators import without_replacement_samples

from ats_cli.registry import SAMPLERS
from ats_cli.sampling import draw, slide_seed
from ats_cli.sampling.streams.logit_stream import PIECE
from ats_cli.sampling.streams.streamed_race import log_noise

LOGITS = np.random.default_rng(0).normal(size=PIECE + 5000) * 2


def streamed(logits, tiles, blocks, seed=3, sampler="murthy"):
    race = SAMPLERS[sampler].stream(tiles, seed)
    for block in np.array_split(logits, blocks):
        race.feed(block)
    return race


@pytest.mark.parametrize("sampler", ["murthy", "without-replacement"])
def test_blocks_give_the_draw_of_the_whole(sampler):
    arrival = np.exp(log_noise(3, 0, len(LOGITS))) / np.exp(LOGITS)
    positions = np.argsort(arrival)[:50]
    attention = np.exp(LOGITS) / np.exp(LOGITS).sum()
    for blocks in (1, 2, 17):
        one = streamed(LOGITS, 50, blocks, sampler=sampler).draw()
        assert one.positions.tolist() == positions.tolist()
        np.testing.assert_allclose(one.attention, attention[positions], rtol=1e-12)
        assert one.weights.sum() == pytest.approx(1, abs=1e-9)
        assert one.sampler == sampler


def test_noise_belongs_to_the_position():
    whole = log_noise(5, 0, 1000)
    assert np.array_equal(np.concatenate([log_noise(5, 0, 300), log_noise(5, 300, 700)]), whole)
    assert not np.array_equal(log_noise(6, 0, 1000), whole)
    # Standard exponential: mean and variance 1.
    e = np.exp(log_noise(slide_seed(0, "a.svs"), 10**9, 100_000))
    assert e.mean() == pytest.approx(1, abs=0.02) and e.var() == pytest.approx(1, abs=0.05)


def test_fewer_tiles_are_the_first_of_more():
    race = streamed(LOGITS, 80, 3)
    for tiles in (1, 20, 80):
        shorter, own = race.draw(tiles=tiles), streamed(LOGITS, tiles, 3).draw()
        assert shorter.positions.tolist() == own.positions.tolist() == race.draw().positions[:tiles].tolist()
        np.testing.assert_array_equal(shorter.weights, own.weights)


@pytest.mark.parametrize("sampler", ["murthy", "without-replacement"])
def test_a_race_over_a_map_is_nested_too(sampler):
    attention = np.random.default_rng(1).gamma(0.3, size=(20, 20))
    attention /= attention.sum()
    runs = [draw(attention, tiles, sampler, np.random.default_rng(9)).positions.tolist() for tiles in (5, 60, 400)]
    assert runs[0] == runs[1][:5] and runs[1] == runs[2][:60]


@pytest.mark.integration
def test_samples_come_with_their_probability():
    attention = np.array([0.2, 0.15, 0.3, 0.1, 0.25])
    counts, runs = {}, 10_000
    for seed in range(runs):
        key = tuple(streamed(np.log(attention) + 7, 2, 1, seed, "without-replacement").draw().positions.tolist())
        counts[key] = counts.get(key, 0) + 1
    for drawn, _, probability in without_replacement_samples(attention, 2):
        sigma = np.sqrt(probability * (1 - probability) / runs)
        assert abs(counts.get(tuple(drawn.tolist()), 0) / runs - probability) < 5 * sigma


def test_positions_without_attention_are_never_drawn():
    logits = np.full((30, 30), -np.inf, np.float32)
    logits[3, 4], logits[20, 1], logits[20, 2] = 1000.0, 999.0, -np.inf
    race = streamed(logits.ravel(), 10, 4)
    assert race.fed == 900 and race.candidates == 2
    one = race.draw()
    assert sorted(one.positions.tolist()) == [94, 601]
    assert one.exact and one.weights.sum() == pytest.approx(1, abs=1e-12)


def test_logits_of_any_size_sum_up():
    race = SAMPLERS["murthy"].stream(1, 0)
    for block in ([-2000.0, -2001.0], [3000.0], [2999.0, -np.inf]):
        race.feed(np.array(block))
    assert race.log_z == pytest.approx(3000 + np.log1p(np.exp(-1)), abs=1e-12)


def test_nonsense_is_refused():
    race = SAMPLERS["murthy"].stream(3, 0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="numbers or -inf"):
            race.feed(np.array([0.0, bad]))
    with pytest.raises(ValueError, match="no position has attention"):
        race.draw()
    race.feed(np.zeros(9))
    for tiles in (4, 0):
        with pytest.raises(ValueError, match="can"):
            race.draw(tiles)
    with pytest.raises(ValueError, match="at least one"):
        SAMPLERS["murthy"].stream(0, 0)


def replaced(logits, tiles, blocks, seed=3):
    stream = SAMPLERS["with-replacement"].stream(tiles, seed)
    for block in np.array_split(logits, blocks):
        stream.feed(block)
    return stream


def test_independent_draws_do_not_depend_on_the_blocks():
    attention = np.exp(LOGITS) / np.exp(LOGITS).sum()
    whole = replaced(LOGITS, 500, 1).draw()
    for blocks in (2, 17):
        one = replaced(LOGITS, 500, blocks).draw()
        assert one.positions.tolist() == whole.positions.tolist()
        np.testing.assert_allclose(one.attention, attention[one.positions], rtol=1e-9)
        assert one.draws.sum() == 500 and one.weights.sum() == pytest.approx(1)
        assert one.sampler == "with-replacement"
    assert replaced(LOGITS, 500, 1, seed=4).draw().positions.tolist() != whole.positions.tolist()


@pytest.mark.integration
@pytest.mark.parametrize("blocks", [1, 5])
def test_independent_draws_come_with_their_probability(blocks):
    """Pairs of draws: independent, each in proportion to attention."""
    attention = np.array([0.2, 0.15, 0.3, 0.1, 0.25])
    counts, runs = np.zeros((5, 5)), 5000
    for seed in range(runs):
        one = replaced(np.log(attention) - 40, 2, blocks, seed).draw()
        counts[tuple(np.repeat(one.positions, one.draws))] += 1
    expected = np.outer(attention, attention)
    assert np.all(np.abs(counts / runs - expected) < 5 * np.sqrt(expected * (1 - expected) / runs))


def test_independent_draws_pass_over_what_has_no_attention():
    logits = np.full(900, -np.inf, np.float32)
    with pytest.raises(ValueError, match="no position has attention"):
        replaced(logits, 10, 4).draw()
    logits[[94, 601]] = 1000.0, 999.0
    one = replaced(logits, 1000, 4).draw()
    assert sorted(one.positions.tolist()) == [94, 601]
    assert one.attention.sum() == pytest.approx(1)
    # A later peak takes all.
    logits[602] = 1100.0
    assert replaced(logits, 1000, 4).draw().exact
    with pytest.raises(ValueError, match="must be numbers"):
        replaced(np.array([0.0, np.nan]), 1, 1)
