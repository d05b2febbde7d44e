"""What holds for every registered task."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ats_cli.prediction_parts import Sampling
from ats_cli.records import Prediction
from ats_cli.registry import TASKS
from ats_cli.results.groups import groups_csv, together
from ats_cli.results.run.table import columns, row
from ats_cli.tasks.task import Floats, Task

NAMES = ("blue", "green", "red")
LABELS = {"regression": ("1.5", "-20", "300", "4"), "multi-label": ("blue;green", "", "red", "green")}
every_task = pytest.mark.parametrize("task", [TASKS[name] for name in TASKS], ids=list(TASKS))
logits_of_slides = arrays(np.float64, (4, len(NAMES)), elements=st.floats(-30, 30))


def labels_of(task: Task) -> Sequence[str]:
    return LABELS.get(task.name, ("blue", "green", "red", "red"))


def logits_for(task: Task, values: Floats) -> Floats:
    """As many columns as the task has classes."""
    return values[:, : len(task.classes(labels_of(task)))]


@every_task
@settings(max_examples=40, deadline=None)
@given(values=logits_of_slides)
def test_probabilities(task: Task, values: Floats) -> None:
    """In [0, 1]; of one class per slide they sum to 1, and the predicted class has the largest."""
    logits = logits_for(task, values)
    classes = task.classes(labels_of(task))
    p = task.probabilities(logits)
    if p is None:
        assert all(task.value(row) is not None and task.predicted(row, classes) is None for row in logits)
        return
    assert p.shape == logits.shape and p.min() >= 0 and p.max() <= 1
    assert task.complement(p) == pytest.approx(1 - p, abs=1e-12)
    for row_of_logits, own in zip(logits, p, strict=True):
        predicted = task.predicted(row_of_logits, classes)
        assert predicted is not None
        if task.single_label:
            assert own.sum() == pytest.approx(1)
            assert own[classes.index(predicted)] == pytest.approx(own.max())


@every_task
@settings(max_examples=40, deadline=None)
@given(values=arrays(np.float64, (4, len(NAMES)), elements=st.floats(-3, 3)), seed=st.integers(0, 99))
def test_the_gradient_is_that_of_the_probabilities(task: Task, values: Floats, seed: int) -> None:
    """Against finite differences in the weight of each tile."""
    terms = logits_for(task, values)
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(terms)))
    p = task.probabilities(weights @ terms)
    if p is None:
        return
    gradient = task.probability_gradient(terms, p)
    assert gradient.shape == terms.shape
    for tile, step in enumerate(np.eye(len(terms)) * 1e-6):
        above, below = (task.probabilities((weights + sign * step) @ terms) for sign in (1, -1))
        assert above is not None and below is not None
        np.testing.assert_allclose(gradient[tile], (above - below) / 2e-6, atol=1e-6)


@pytest.mark.integration
@every_task
def test_the_loss_falls_to_less_than_that_of_the_baseline(task: Task) -> None:
    """Gradient descent on free logits finds the labels; the baseline is the best that equal logits can do."""
    labels = labels_of(task)
    classes = task.classes(labels)
    targets = task.targets(labels, classes, task.scale(labels))
    baseline = task.baseline_loss(labels, classes, np.ones(len(labels)))
    for free, rows in ((False, 1), (True, len(labels))):
        logits = torch.zeros(rows, len(classes), requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=0.1)
        for _ in range(400):
            optimiser.zero_grad()
            loss = task.losses(logits.expand(len(labels), -1), targets)
            assert loss.shape == (len(labels),)
            loss.mean().backward()
            optimiser.step()
        if free:
            assert loss.mean().item() < 0.1 * baseline
            assert task.accuracy(logits, targets).tolist() == [1.0] * len(labels)
        else:
            assert loss.mean().item() == pytest.approx(baseline, rel=1e-3)


@every_task
def test_columns_and_cells_agree(task: Task) -> None:
    """Of slides and of groups, predicted or failed; of tiles; and the answer that people read is one of the cells."""
    labels = labels_of(task)
    classes = task.classes(labels)
    logits = np.linspace(-1, 1, len(classes))
    p = task.probabilities(logits)
    predicted = Prediction(
        "a", "a.tif", "ok", predicted=task.predicted(logits, classes), classes=classes, task=task.name,
        probabilities=None if p is None else tuple(p.tolist()), se=None if p is None else (0.125,) * len(classes),
        logits=tuple(logits.tolist()), logits_se=(0.25,) * len(classes), value=task.value(logits),
        se_value=task.value(np.full(len(classes), 0.25)), sampling=Sampling(positions=9),
    )  # fmt: skip
    failed = Prediction("b", "b.tif", "failed", "b.tif: broken.", classes=classes)
    for prediction in (predicted, failed):
        assert len(row(prediction, len(classes), task.name)) == len(columns(classes, task.name))
    assert {"prob_" + name for name in classes} <= set(columns(classes, task.name)) or "value" in task.answer_fields
    number, error = task.shown(predicted)
    assert number in row(predicted, len(classes), task.name) and error in (0.125, 0.25)
    assert task.shown(Prediction("c", "", "failed", task=task.name, classes=classes)) == (None, None)

    groups = [together("P", [predicted, failed], "equal"), together("Q", [failed], "equal")]
    lengths = {len(line.split(",")) for line in groups_csv(classes, groups, task.name).decode().splitlines()}
    assert len(lengths) == 1
    assert groups[0].prediction.value == task.value(logits)

    values = task.tile_values(np.tile(logits, (5, 1)))
    assert values.shape == (5, len(task.tile_columns(classes)))


@every_task
def test_labels_from_which_nothing_can_be_learned(task: Task) -> None:
    assert task.labels_problem(labels_of(task)) is None
    label = "5" if task.label_problem("five") else ""
    assert task.labels_problem([label] * 3)


@pytest.mark.integration
def test_a_task_is_imported_without_torch() -> None:
    code = (
        "import sys; from ats_cli.registry import TASKS\n"
        "print([TASKS[name].name for name in TASKS] == list(TASKS), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
