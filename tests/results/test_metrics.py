"""Figures agree with scikit-learn's and torchmetrics' on the same table, plain and weighed."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from ats_cli.results.evaluation import metrics as m
from ats_cli.results.evaluation.bootstrap import with_intervals


def made(slides: int, classes: int, seed: int = 0, coarse: bool = False) -> m.Table:
    """A table of a middling model; `coarse` probabilities come in a few values, so that many tie."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, slides)
    logits = rng.normal(size=(slides, classes)) + 1.2 * np.eye(classes)[labels]
    if coarse:
        logits = np.round(logits)
    exponentials = np.exp(logits)
    return m.Table(labels, exponentials / exponentials.sum(1, keepdims=True))


def one_hot(table: m.Table) -> np.ndarray:
    return np.eye(table.classes)[table.labels]


THEIRS: dict[str, Callable[[m.Table, np.ndarray], float]] = {
    "accuracy": lambda t, w: sk.accuracy_score(t.labels, t.predicted, sample_weight=w),
    "balanced_accuracy": lambda t, w: sk.balanced_accuracy_score(t.labels, t.predicted, sample_weight=w),
    "auroc": lambda t, w: sk.roc_auc_score(one_hot(t), t.probabilities, average="macro", sample_weight=w),
    "auprc": lambda t, w: sk.average_precision_score(one_hot(t), t.probabilities, average="macro", sample_weight=w),
    "f1": lambda t, w: sk.f1_score(t.labels, t.predicted, average="macro", sample_weight=w),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("coarse", [False, True])
def test_figures_are_those_of_scikit_learn(name: str, classes: int, coarse: bool) -> None:
    table = made(150, classes, coarse=coarse)
    resampled = np.random.default_rng(1).multinomial(150, np.full(150, 1 / 150), 5).astype(float)
    weights = np.concatenate([table.ones, resampled])
    ours = m.FIGURES[name](table, weights)
    assert ours == pytest.approx([THEIRS[name](table, w) for w in weights], abs=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_calibration_error_is_that_of_torchmetrics(classes: int) -> None:
    table = made(300, classes)
    probabilities, labels = torch.from_numpy(table.probabilities), torch.from_numpy(table.labels)
    theirs = multiclass_calibration_error(probabilities, labels, classes, n_bins=m.BINS, norm="l1")
    assert m.calibration_error(table, table.ones)[0] == pytest.approx(float(theirs), abs=1e-6)


def test_the_curves_are_those_of_scikit_learn() -> None:
    table = made(120, 3, coarse=True)
    false, true, precision = m.curve(table, 1)
    theirs = sk.roc_curve(table.labels == 1, table.probabilities[:, 1], drop_intermediate=False)
    assert false == pytest.approx(theirs[0]) and true == pytest.approx(theirs[1])
    their_precision, their_recall, _ = sk.precision_recall_curve(table.labels == 1, table.probabilities[:, 1])
    assert true[1:] == pytest.approx(their_recall[::-1][1:])
    assert precision[1:] == pytest.approx(their_precision[::-1][1:])


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    table = made(90, 3)
    assert np.array_equal(
        m.confusion_matrices(table, table.ones)[0], sk.confusion_matrix(table.labels, table.predicted)
    )


def test_a_class_that_does_not_occur_is_left_out() -> None:
    table = made(80, 3)
    table = m.Table(np.where(table.labels == 2, 0, table.labels), table.probabilities)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sk.f1_score(table.labels, table.predicted, average="macro", labels=[0, 1])
        balanced = sk.balanced_accuracy_score(table.labels, table.predicted)
    assert m.f1(table, table.ones)[0] == pytest.approx(theirs)
    assert m.balanced_accuracy(table, table.ones)[0] == pytest.approx(balanced)
    assert np.isnan(m.auroc_of(2)(table, table.ones)[0])
    assert np.isfinite(m.auroc(table, table.ones)[0])


@pytest.mark.integration
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(2, 4), st.integers(0, 3), st.integers(0, 99))
def test_of_slides_of_one_class_there_is_no_ranking(slides: int, classes: int, only: int, seed: int) -> None:
    """Without a slide of another class the average precision is 1, whatever the model says."""
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(classes), slides)
    table = m.Table(np.full(slides, only % classes), probabilities)
    for figure in (m.auroc, m.auprc):
        assert np.isnan(figure(table, table.ones)[0])
    assert m.accuracy(table, table.ones)[0] == (table.predicted == only % classes).mean()


def test_slides_of_one_patient_do_not_count_as_many() -> None:
    table = made(60, 2)
    alone = with_intervals(table, [str(i) for i in range(60)], m.FIGURES)
    copies = m.Table(np.tile(table.labels, 3), np.tile(table.probabilities, (3, 1)))
    grouped = with_intervals(copies, [str(i % 60) for i in range(180)], m.FIGURES)
    ungrouped = with_intervals(copies, [str(i) for i in range(180)], m.FIGURES)
    for name in ("accuracy", "auroc", "f1"):
        one, same, narrow = alone[name], grouped[name], ungrouped[name]
        assert (same.low, same.high) == pytest.approx((one.low, one.high))
        assert narrow.high - narrow.low < 0.7 * (one.high - one.low)  # type: ignore[operator]


def test_intervals_are_reproducible_and_hold_the_figure() -> None:
    table = made(70, 3)
    groups = [str(i // 2) for i in range(70)]
    first = with_intervals(table, groups, m.FIGURES, seed=3)
    assert first == with_intervals(table, groups, m.FIGURES, seed=3)
    for estimate in first.values():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1  # type: ignore[operator]


def test_no_interval_where_nothing_could_differ() -> None:
    perfect = m.Table(np.array([0, 1] * 5), np.eye(2)[[0, 1] * 5])
    accuracy = with_intervals(perfect, [str(i) for i in range(10)], {"accuracy": m.accuracy})["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (1.0, None, None)
    one_patient = with_intervals(made(10, 2), ["p"] * 10, {"accuracy": m.accuracy})["accuracy"]
    assert one_patient.low is None and one_patient.value is not None
