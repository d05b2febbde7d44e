"""A training that is cut goes on: by kill -9 at any moment, and it ends at the same weights to the bit."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.errors import AtsError
from ats_cli.training import labelled_slides, split_off
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.train import TrainingProgress

pytestmark = pytest.mark.integration

SPEC = small_spec(
    {"prior": "none", "channels": (8, 8)},
    {"lr": 0.01, "steps": 40, "batch_size": 3, "flips": True, "colour_jitter": 0.1, "centred": True},
    tiles=6,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(10):
        label, light = (("bright", 250), ("dark", 10))[number % 2]
        pixels = square(97, 83, 5 * number, 3 * number, 30, light, ground=128)
        write_slide(tmp_path / "data" / label / f"{number:02d}.tif", pixels)
    return tmp_path / "data"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (write_model(tmp_path / "recipe", SPEC) / "weights.safetensors").unlink()
    return tmp_path / "recipe"


def steps_in(history: Path) -> list[int]:
    with history.open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def begin(data: Path, recipe: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    options = ("--val", "0.2", "--checkpoint-every", "3", "--device", "cpu", "--quiet", "-o", str(output), *more)
    command = (sys.executable, "-m", "ats_cli", "train", str(data), "--recipe", str(recipe), *options)
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)


def test_cut_three_times_by_kill_9_it_ends_at_the_same_weights(data: Path, recipe: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(recipe), "checkpoint_every": 3}
    train_into(output=tmp_path / "whole", **given)
    cut = tmp_path / "cut"
    chance = random.Random(os.urandom(4))
    for place in (1, 2, 3):
        process = begin(data, recipe, cut, "--resume", "--name", "whole")
        # Not before it has gone on: three cuts at different places of the training, somewhere within or after a step.
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            if (cut / "history.csv").exists() and len(steps_in(cut / "history.csv")) >= 9 * place:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    tensors, state, _ = TrainingLog(cut).load_checkpoint()
    reached = state["step"]
    assert reached >= 26 and any(name.startswith("optimiser.") for name in tensors)
    assert begin(data, recipe, cut, "--resume", "--name", "whole").wait() == 0

    one, other = (load_file(folder / "weights.safetensors") for folder in (tmp_path / "whole", cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (cut / "model.toml").read_bytes() == (tmp_path / "whole" / "model.toml").read_bytes()
    assert json.loads((cut / "metrics.json").read_text()) == json.loads(
        (tmp_path / "whole" / "metrics.json").read_text()
    )
    histories = [[row[3:] for row in csv.reader((f / "history.csv").open())] for f in (tmp_path / "whole", cut)]
    assert histories[0] == histories[1]
    assert steps_in(cut / "history.csv") == list(range(1, 41))


def test_every_step_is_a_place_to_go_on_from(data: Path, tmp_path: Path) -> None:
    """No step of an unbroken training differs from one that was cut there and went on, whatever was switched on."""
    train, held = split_off(labelled_slides(data, None), 0.2, seed=0)
    whole: list[TrainingProgress] = []
    unbroken = train_slides(SPEC, train, held, on_progress=whole.append)

    def stop(progress: TrainingProgress) -> None:
        cut.append(progress)
        signal.raise_signal(signal.SIGINT)

    cut: list[TrainingProgress] = []
    for _ in range(SPEC.training.steps):
        log = TrainingLog(tmp_path / "run", every=1000)
        trained = train_slides(SPEC, train, held, on_progress=stop, log=log, resume=True)
    assert [(p.step, p.loss, p.validation) for p in cut] == [(p.step, p.loss, p.validation) for p in whole]
    assert trained.metrics["validation"] == unbroken.metrics["validation"]
    states = trained.nets.state_dict(), unbroken.nets.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_training_is_not_gone_on_with_by_another_call(data: Path, recipe: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(recipe), "output": tmp_path / "model"}
    short = {"steps": 4}
    train_into(overrides=short, **given)
    before = (tmp_path / "model" / "weights.safetensors").read_bytes()
    with pytest.raises(AtsError, match=r"already there.*--resume"):
        train_into(overrides=short, **given)
    for changed, words in [
        ({"overrides": {"steps": 5}}, r"another recipe\.training\.steps"),
        ({"overrides": short, "seed": 1}, "another seed"),
        ({"overrides": short, "validation": 0.5}, "other slides, or another split"),
    ]:
        with pytest.raises(AtsError, match=words):
            train_into(resume=True, **changed, **given)
    train_into(overrides=short, resume=True, **given)
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == before


def test_a_checkpoint_that_is_none_is_a_sentence(data: Path, recipe: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(recipe), "output": tmp_path / "model"}
    train_into(overrides={"steps": 2}, **given)
    TrainingLog(tmp_path / "model").last.write_bytes(b"\x80\x04nothing")
    with pytest.raises(AtsError, match=r"last\.safetensors: not a readable checkpoint") as caught:
        train_into(overrides={"steps": 2}, resume=True, **given)
    assert len(str(caught.value).splitlines()) == 1


def test_a_split_without_contents_goes_on(data: Path, recipe: Path, tmp_path: Path) -> None:
    """Earlier versions wrote split.csv without the column `content`: contents are not compared, the slides are."""
    given: dict[str, Any] = {"folder": data, "recipe": str(recipe), "output": tmp_path / "model", "checkpoint_every": 2}
    train_into(overrides={"steps": 4}, **given)
    split = tmp_path / "model" / "split.csv"
    with split.open(newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    assert rows[0][-1] == "path"
    with split.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert train_into(overrides={"steps": 4}, resume=True, **given).steps_done == 4
    with split.open("w", newline="") as file:
        csv.writer(file).writerows(rows[:-1])
    with pytest.raises(AtsError, match="begun with other slides"):
        train_into(overrides={"steps": 4}, resume=True, **given)
