"""A task added in one file is trained, predicted and tabulated by the command line."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from small import SPEC, square, write_model, write_slide
from test_every_task import (
    test_columns_and_cells_agree,
    test_probabilities,
    test_the_gradient_is_that_of_the_probabilities,
    test_the_loss_falls_to_less_than_that_of_the_baseline,
)

from ats_cli.app import run
from ats_cli.registry import TASKS
from ats_cli.tasks.multi_class import MultiClass

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
SHARED = (
    test_probabilities, test_the_gradient_is_that_of_the_probabilities, test_columns_and_cells_agree,
    test_the_loss_falls_to_less_than_that_of_the_baseline,
)  # fmt: skip


class Ordinal(MultiClass):
    """Grades in the order of their names, each logit deciding between one grade and all higher ones."""

    name, can_settle = "ordinal", False

    def probabilities(self, logits: NDArray[np.floating]) -> Floats:
        stops = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
        stops[..., -1] = 1
        reached = np.cumprod(1 - stops, axis=-1)
        return stops * np.concatenate([np.ones_like(stops[..., :1]), reached[..., :-1]], axis=-1)

    def probability_gradient(self, terms: Floats, probabilities: Floats) -> Floats:
        stops = probabilities / np.cumsum(probabilities[::-1])[::-1]
        jacobian = np.diag(probabilities * (1 - stops)) - np.tril(np.outer(probabilities, stops), -1)
        return np.asarray(terms @ jacobian.T)

    def complement(self, probabilities: Floats) -> Floats:
        return np.asarray(1 - probabilities)

    def predicted(self, logits: Floats, classes: Sequence[str]) -> str | None:
        return classes[int(np.argmax(self.probabilities(logits)))]

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        return -self._log_probabilities(logits).gather(1, targets[:, None])[:, 0]

    def accuracy(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (self._log_probabilities(logits).argmax(1) == targets).float()

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        import torch
        from torch.nn.functional import logsigmoid

        passed = logsigmoid(-logits[:, :-1]).cumsum(1)
        start = torch.zeros_like(logits[:, :1])
        return torch.cat([start, passed], 1) + torch.cat([logsigmoid(logits[:, :-1]), start], 1)


@pytest.fixture
def ordinal() -> Iterator[Ordinal]:
    TASKS.register(Ordinal.name, Ordinal())
    yield Ordinal()
    TASKS.unregister(Ordinal.name)


@pytest.mark.integration
@pytest.mark.parametrize("shared", SHARED, ids=lambda shared: shared.__name__)
def test_the_shared_tests_hold_for_an_added_task(ordinal: Ordinal, shared: object) -> None:
    shared(task=ordinal)  # type: ignore[operator]


@pytest.mark.integration
def test_an_added_task_is_trained_predicted_evaluated_and_tabulated(
    ordinal: Ordinal, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for grade, light in enumerate((60, 140, 250)):
        for number in range(4):
            write_slide(data / f"grade {grade}" / f"{number}.tif", square(97, 83, 10 + 5 * number, 20, 40, light))
    (write_model(tmp_path / "recipe", SPEC) / "weights.safetensors").unlink()
    model, out = tmp_path / "model", tmp_path / "run"
    options = ("--recipe", tmp_path / "recipe", "--val", 0.25, "--steps", 8, "--device", "cpu", "--quiet")
    assert run(["train", *map(str, (data, "-o", model, "--task", "ordinal", *options))]) == 0
    spec = tomllib.loads((model / "model.toml").read_text())
    assert spec["task"] == "ordinal" and spec["classes"] == ["grade 0", "grade 1", "grade 2"]

    capfd.readouterr()
    call = ("predict", data, "-m", model, "-o", out, "--device", "cpu", "--processes", 0, "--quiet")
    assert run([*map(str, call), "--json"]) == 0
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    with (out / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(records) == len(table) == 12
    lines = {line["slide_id"]: line for line in table}
    for record in records:
        line = lines[record["slide_id"]]
        p = np.array(list(record["probabilities"].values()))
        assert p == pytest.approx(ordinal.probabilities(np.array(list(record["logits"].values()))))
        assert record["task"] == "ordinal" and record["predicted"] == line["predicted"]
        assert [float(line[f"prob_grade {grade}"]) for grade in range(3)] == pytest.approx(p)
    assert run([*map(str, call)]) == 0
    assert "probability" in capfd.readouterr().out
    assert run(["evaluate", *map(str, (data, "-m", model, "--device", "cpu", "--processes", 0)), "--json"]) == 0
    figures = json.loads(capfd.readouterr().out)
    correct = np.mean([record["predicted"] == Path(record["path"]).parent.name for record in records])
    assert figures["budgets"][0]["figures"]["accuracy"]["value"] == pytest.approx(correct)
    assert run([*map(str, call[:4]), "--device", "cpu", "--adaptive"]) == 1, "its class cannot be settled"


def test_an_unknown_task_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(tmp_path), "-o", str(tmp_path / "model"), "--task", "multilabel"]) == 2
    assert "unknown task 'multilabel'. Did you mean multi-label?" in capfd.readouterr().err
    folder = write_model(tmp_path / "other")
    file = folder / "model.toml"
    file.write_text(file.read_text().replace('"multi-class"', '"multiclass"'))
    assert run(["models", "show", str(folder)]) != 0
    assert "unknown task 'multiclass'. Did you mean multi-class?" in capfd.readouterr().err
