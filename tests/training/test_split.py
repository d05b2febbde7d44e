"""Every fold and every part of a split learns and judges every class, or a sentence says which it cannot."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import AtsError
from ats_cli.registry import TASKS
from ats_cli.training import LabelledSlide, split_off
from ats_cli.training.dataset.split import folds

CLASSES = "abcd"


@st.composite
def tables(draw: st.DrawFn, most: int = 24) -> tuple[str, list[LabelledSlide]]:
    """A task, and slides with random labels, some of them in groups, some labels rare."""
    task = draw(st.sampled_from(["multi-class", "multi-label", "regression"]))
    classes = CLASSES[: draw(st.integers(2, 4))]
    count = draw(st.integers(2, most))
    groups = st.sampled_from(["", *(f"P{i}" for i in range(draw(st.integers(1, count))))])
    label = {
        "multi-class": st.sampled_from("a" * 5 + classes),
        "multi-label": st.lists(st.sampled_from("aab" + classes), max_size=3, unique=True).map(";".join),
        "regression": st.integers(0, 9).map(str),
    }[task]
    slides = [LabelledSlide(f"s{i}", Path(f"s{i}.tif"), draw(label), group=draw(groups)) for i in range(count)]
    return task, slides


def classes_of(task: str, slides: list[LabelledSlide]) -> set[str]:
    return {name for slide in slides for name in TASKS[task].class_names(slide.label)}


def possible(task: str, slides: list[LabelledSlide], parts: int) -> bool:
    """Whether any assignment of groups to parts gives every part every class and a slide, by trying all of them."""
    members: dict[str, list[LabelledSlide]] = {}
    for slide in slides:
        members.setdefault(slide.group or f"alone {slide.slide_id}", []).append(slide)
    found = [classes_of(task, own) for own in members.values()]
    every = set().union(*found)
    return any(
        all(
            any(p == part for p in where)
            and set().union(*(own for own, p in zip(found, where, strict=True) if p == part)) == every
            for part in range(parts)
        )
        for where in product(range(parts), repeat=len(found))
    )


def check(task: str, slides: list[LabelledSlide], train: list[LabelledSlide], held: list[LabelledSlide]) -> None:
    assert train and held
    assert sorted(s.slide_id for s in train + held) == sorted(s.slide_id for s in slides)
    assert not {s.group for s in train if s.group} & {s.group for s in held}
    assert classes_of(task, train) == classes_of(task, held) == classes_of(task, slides)


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(tables(), st.integers(2, 5), st.floats(0.01, 0.89), st.integers(0, 9))
def test_every_part_has_every_class_or_a_sentence_says_which_cannot(
    table: tuple[str, list[LabelledSlide]], count: int, fraction: float, seed: int
) -> None:
    task, slides = table
    names = TASKS[task].class_names
    try:
        pairs = folds(slides, count, seed, names)
    except AtsError as error:
        assert f"--folds {count}" in str(error) and len(str(error).splitlines()) == 1
        pairs = []
    for train, held in pairs:
        check(task, slides, train, held)
    assert not pairs or sorted(s.slide_id for _, held in pairs for s in held) == sorted(s.slide_id for s in slides)
    try:
        check(task, slides, *split_off(slides, fraction, seed, names))
    except AtsError as error:
        assert "--val 0" in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(tables(most=9), st.integers(2, 3), st.integers(0, 9))
def test_what_is_possible_is_found(table: tuple[str, list[LabelledSlide]], count: int, seed: int) -> None:
    """Against all assignments of groups to parts."""
    task, slides = table
    names = TASKS[task].class_names
    for parts, divide in (
        (count, lambda: folds(slides, count, seed, names)),
        (2, lambda: split_off(slides, 0.2, seed, names)),
    ):
        if possible(task, slides, parts):
            divide()
        else:
            with pytest.raises(AtsError):
                divide()


@settings(max_examples=40, deadline=None)
@given(st.integers(12, 60), st.integers(2, 4), st.integers(0, 99))
def test_folds_have_the_same_share_of_a_label(count: int, parts: int, seed: int) -> None:
    """Slides of their own, each with label a, b, both or none."""
    rng = np.random.default_rng(seed)
    labels = ["a", "a;b", "", *("", "a", "b", "a;b")]
    slides = [
        LabelledSlide(str(i), Path(f"{i}.tif"), labels[rng.integers(7)] if i > 9 else "a;b") for i in range(count)
    ]
    for _, held in folds(slides, parts, seed, TASKS["multi-label"].class_names):
        for name in "ab":
            share = sum(name in s.label for s in held)
            assert abs(share - sum(name in s.label for s in slides) / parts) <= 3


def test_a_given_part_for_validation_judges_every_class() -> None:
    slides = [
        LabelledSlide(f"{split}{i}{name}", Path("x"), name, split)
        for split in ("train", "val")
        for name in "ab"
        for i in range(2)
    ]
    rare = [*slides, LabelledSlide("c", Path("x"), "c", "train"), LabelledSlide("d", Path("x"), "c", "train")]
    with pytest.raises(AtsError, match="class c has no slide in the validation part"):
        split_off(rare, 0.2, 0)
    assert len(folds(rare, 2, 0)) == 2  # which make parts of their own


def test_slides_of_rare_labels_count_more() -> None:
    """Each label, and having none, comes to the same; with one label a slide, as for classes."""
    task = TASKS["multi-label"]
    labels = ["a"] * 6 + ["a;rare", "", "", "b"]
    weights = task.balanced(np.ones(10), labels, task.classes(labels))
    assert weights[6] == pytest.approx(1 + 1 / 7) and weights[0] == pytest.approx(1 / 7)
    assert weights[7] == weights[8] == pytest.approx(1 / 2) and weights[9] == pytest.approx(1)
    single = ["a"] * 5 + ["b"] * 2 + ["c"]
    given = np.array([1.0, 2, 1, 1, 1, 3, 1, 1])
    assert np.allclose(
        task.balanced(given, single, ("a", "b", "c")), TASKS["multi-class"].balanced(given, single, ("a", "b", "c"))
    )
    with pytest.raises(AtsError, match=r"--balance .* regression"):
        TASKS["regression"].balanced(np.ones(2), ["1", "2"], ("value",))
