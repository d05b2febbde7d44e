"""Never stuck silently: what goes wrong is provoked, and said, with what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import copy_slide, noise, small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.errors import AtsError
from ats_cli.records import ModelSpec
from ats_cli.training import LabelledSlide
from ats_cli.training.loop import state as module
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.train import TrainingProgress

pytestmark = pytest.mark.integration


@pytest.fixture
def alike(tmp_path: Path) -> list[LabelledSlide]:
    """Two classes of the same noise: nothing can be learnt."""
    noisy = write_slide(tmp_path / "noise.tif", noise(97, 83))
    paths = [copy_slide(noisy, tmp_path / f"{i}.tif") for i in range(8)]
    return [LabelledSlide(str(i), path, "ab"[i % 2]) for i, path in enumerate(paths)]


@pytest.fixture
def apart(tmp_path: Path) -> list[LabelledSlide]:
    """A bright or a dark square on grey."""
    paths = [
        write_slide(tmp_path / f"s{i}.tif", square(97, 83, 4 * i, 20, 40, (250, 10)[i % 2], 128)) for i in range(8)
    ]
    return [LabelledSlide(str(i), path, "ab"[i % 2]) for i, path in enumerate(paths)]


def notes(spec: ModelSpec, slides: list[LabelledSlide]) -> list[str]:
    seen: list[TrainingProgress] = []
    trained = train_slides(spec, slides, [], on_progress=seen.append)
    told = [note for progress in seen for note in progress.notes]
    assert trained.metrics["notes"] == told
    return told


def spec_of(attention: dict[str, Any], **training: Any) -> ModelSpec:
    return small_spec(attention, {"steps": 60, "batch_size": 8, "lr": 0.01, **training}, classes=("a", "b"))


def test_the_plateau_at_chance_is_said_once(alike: list[LabelledSlide]) -> None:
    (note,) = notes(spec_of({"prior_strength": 5.0}), alike)
    assert "no better than chance (ln 2 = 0.693)" in note and "--lr (now 0.01)" in note and "training.crop" in note
    assert int(note.split()[1].rstrip(":")) <= 30


def test_a_training_that_learns_is_left_alone(apart: list[LabelledSlide]) -> None:
    assert notes(spec_of({"prior": "bright", "channels": (8, 8)}, lr=0.02, steps=90), apart) == []


def test_attention_that_collapses_on_one_position_is_said(apart: list[LabelledSlide]) -> None:
    """An entropy weight below zero rewards just that."""
    told = notes(spec_of({"prior": "none", "channels": (8, 8)}, entropy_weight=-5.0, lr=0.1, freeze=0.0), apart)
    (note,) = (note for note in told if "collapsed" in note)
    assert "training.entropy_weight (now -5)" in note and "training.freeze" in note


def test_attention_that_stays_everywhere_is_said(apart: list[LabelledSlide]) -> None:
    told = notes(spec_of({"prior": "none"}, entropy_weight=100.0), apart)
    (note,) = (note for note in told if "spread over all the slide" in note)
    assert "Lower training.entropy_weight (now 100)" in note


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_what_is_no_number_stops_with_the_last_good_checkpoint(
    apart: list[LabelledSlide], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    whole, calls = module.losses, list[int]()

    def spoilt(spec: ModelSpec, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        loss = whole(spec, logits, target)
        if len(calls) < 8:  # one of them is the trial before the first step
            return loss
        return loss * torch.nan if fault == "loss" else loss + (0 * logits).sqrt().sum()

    monkeypatch.setattr(module, "losses", spoilt)
    spec = small_spec(training={"steps": 12, "freeze": 0.0}, classes=("a", "b"))
    log = TrainingLog(tmp_path / "run", every=2)
    with pytest.raises(AtsError, match=r"no longer a number at step 7\. Lower --lr.*checkpoints keeps") as caught:
        train_slides(spec, apart, [], log=log)
    assert len(str(caught.value).splitlines()) == 1
    tensors, state, _ = log.load_checkpoint()
    assert state["step"] == 6
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    monkeypatch.undo()
    assert train_slides(spec, apart, [], log=log, resume=True).steps_done == 12


def test_notes_are_part_of_the_card(alike: list[LabelledSlide], tmp_path: Path) -> None:
    spec = spec_of({"prior_strength": 5.0})
    (write_model(tmp_path / "recipe", spec) / "weights.safetensors").unlink()
    lines = ["slide,label", *(f"{s.path},{s.label}" for s in alike)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    given: dict[str, Any] = {"folder": None, "manifest": tmp_path / "table.csv", "recipe": str(tmp_path / "recipe")}
    train_into(output=tmp_path / "model", validation=0.0, **given)
    assert "no better than chance" in (tmp_path / "model" / "README.md").read_text()
    losses = np.genfromtxt(tmp_path / "model" / "history.csv", delimiter=",", names=True)["loss"]
    assert abs(losses[-10:].mean() - np.log(2)) < 0.05
