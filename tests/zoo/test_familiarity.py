"""What is familiar to a model: distances, the limit, and the file."""

from pathlib import Path

import numpy as np
import pytest

from ats_cli.errors import ModelError
from ats_cli.zoo.out_of_distribution import (
    OutOfDistribution,
    fit,
    read_out_of_distribution,
    write_out_of_distribution,
)

WIDTH = 30


def slides(many: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Traits of slides of one kind: correlated, one of them constant; `shift` moves them, in standard deviations."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(WIDTH, WIDTH)) * 0.05
    mixing[:, 0] = 0
    deviation = np.sqrt((mixing**2).sum(0))
    return 0.3 + rng.normal(size=(many, WIDTH)) @ mixing + shift * deviation


def scores(found: OutOfDistribution, embeddings: np.ndarray) -> np.ndarray:
    return np.array([found.score(own) for own in embeddings], float)


@pytest.mark.parametrize(("train", "held"), [(300, 200), (300, 0), (60, 0), (20, 30)])
def test_own_slides_are_familiar_and_others_are_not(train: int, held: int) -> None:
    found = fit(slides(train, 0), slides(held, 1), tiles=10, weights="w")
    assert found is not None
    own, others = scores(found, slides(1000, 2)), scores(found, slides(1000, 3, shift=5.0))
    assert (own > 1).mean() <= 0.05
    assert (others[:, None] > own[None]).mean() > 0.95


def test_classes_in_turn_do_not_widen_the_limit() -> None:
    kinds = [slides(40, k) + 0.5 * np.random.default_rng(k).normal(size=WIDTH) for k in range(10)]
    in_turn = np.stack(kinds, 1).reshape(-1, WIDTH)
    limit = fit(in_turn, slides(0, 0), 10, "w").limit  # type: ignore[union-attr]
    shuffled = np.random.default_rng(1).permutation(in_turn)
    assert limit == pytest.approx(fit(shuffled, slides(0, 0), 10, "w").limit, rel=0.15)  # type: ignore[union-attr]


def test_a_trait_that_never_varied_counts_once_it_does() -> None:
    found = fit(slides(100, 0), slides(0, 0), 10, "w")
    assert found is not None
    (own,) = slides(1, 5)
    assert found.score(own) < 1  # type: ignore[operator]
    coloured = own.copy()
    coloured[0] += 0.5
    assert found.score(coloured) > 1  # type: ignore[operator]


def test_too_few_slides_say_nothing() -> None:
    assert fit(slides(7, 0), slides(100, 1), 10, "w") is None
    assert fit(np.empty((0, 0)), np.empty((0, 0)), 10, "w") is None


def test_what_is_no_number_has_no_score() -> None:
    found = fit(slides(50, 0), slides(0, 0), 10, "w")
    assert found is not None
    assert found.score(np.full(WIDTH, np.nan)) is None
    assert found.score(np.zeros(WIDTH + 1)) is None


def test_the_file_is_read_back_and_belongs_to_its_weights(tmp_path: Path) -> None:
    found = fit(slides(50, 0), slides(20, 1), 12, "these")
    assert found is not None
    write_out_of_distribution(tmp_path, found)
    again = read_out_of_distribution(tmp_path, "these")
    assert again is not None
    assert (again.training_slides, again.validation_slides, again.tiles, again.limit) == (50, 20, 12, found.limit)
    (own,) = slides(1, 4)
    assert again.score(own) == found.score(own)
    with pytest.raises(ModelError, match="belongs to other weights"):
        read_out_of_distribution(tmp_path, "others")
    (tmp_path / "familiarity.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match="cannot be read"):
        read_out_of_distribution(tmp_path, "these")
    assert read_out_of_distribution(tmp_path / "nowhere", "these") is None


def test_one_odd_slide_among_its_own_does_not_set_the_limit() -> None:
    usual = slides(60, 0)
    odd = np.concatenate([usual[:-1], slides(1, 6, shift=8.0)])
    without, with_it = fit(usual, slides(0, 0), 10, "w"), fit(odd, slides(0, 0), 10, "w")
    assert without is not None and with_it is not None
    assert with_it.limit < 2 * without.limit
    assert (scores(with_it, slides(500, 8)) > 1).mean() <= 0.05
