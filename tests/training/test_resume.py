"""A training that is cut goes on: by kill -9 at any moment, and it ends at the same weights to the bit."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from small import small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.errors import AtsError
from ats_cli.training import labelled_slides, split_off
from ats_cli.training.loop.checkpoint import read_checkpoint, write_checkpoint
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.output import claim_output
from ats_cli.training.train import TrainingProgress

pytestmark = pytest.mark.integration

SPEC = small_spec(
    {"prior": "none", "channels": (8, 8)},
    {"lr": 0.01, "steps": 40, "batch_size": 3, "flips": True, "colour_jitter": 0.1, "second_draw": True},
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


KILLED = """
import os, signal, sys
import ats_cli.training
from ats_cli.app import run

steps, lines = int(sys.argv[1]), int(sys.argv[2])

def trace(frame, event, _):
    global steps, lines
    if "ats_cli/training" not in frame.f_code.co_filename and "ats_cli/results" not in frame.f_code.co_filename:
        return None
    if event == "call" and frame.f_code.co_qualname == "TrainState.step":
        steps -= 1
    if event == "line" and steps < 0:
        lines -= 1
        if lines < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

sys.settrace(trace)
sys.exit(run(sys.argv[3:]))
"""
"""Trains, and kills itself at the n-th line after so many steps: within a step or a checkpoint, or between two."""


def begin(data: Path, recipe: Path, output: Path, *more: str, kill: tuple[int, int] | None = None) -> int:
    """Train in a process of its own; return its exit status. `kill`: after how many steps, and at which line then."""
    options = ("--val", "0.2", "--checkpoint-every", "3", "--device", "cpu", "--quiet", "-o", str(output), *more)
    program = ("-m", "ats_cli") if kill is None else ("-c", KILLED, *map(str, kill))
    command = (sys.executable, *program, "train", str(data), "--recipe", str(recipe), *options)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode


def test_cut_three_times_by_kill_9_it_ends_at_the_same_weights(data: Path, recipe: Path, tmp_path: Path) -> None:
    call: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(recipe), "checkpoint_every": 3}
    train_into(output=tmp_path / "whole", **call)
    cut, drawn = tmp_path / "cut", random.Random(os.urandom(4))
    for _ in range(3):
        place = drawn.randint(9, 11), drawn.randint(0, 500)
        assert begin(data, recipe, cut, "--resume", "--name", "whole", kill=place) == -signal.SIGKILL, place
    tensors, state, _ = TrainingLog(cut).load_checkpoint()
    reached = state["step"]
    assert 24 <= reached < 40 and any(name.startswith("optimiser.") for name in tensors)
    assert begin(data, recipe, cut, "--resume", "--name", "whole") == 0

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
    spec = replace(SPEC, training=replace(SPEC.training, steps=20))
    train, held = split_off(labelled_slides(data, None), 0.2, seed=0)
    whole: list[TrainingProgress] = []
    unbroken = train_slides(spec, train, held, on_progress=whole.append)

    def stop(progress: TrainingProgress) -> None:
        cut.append(progress)
        signal.raise_signal(signal.SIGINT)

    cut: list[TrainingProgress] = []
    for _ in range(spec.training.steps):
        log = TrainingLog(tmp_path / "run", every=1000)
        trained = train_slides(spec, train, held, on_progress=stop, log=log, resume=True)
    assert [(p.step, p.loss, p.validation) for p in cut] == [(p.step, p.loss, p.validation) for p in whole]
    assert trained.metrics["validation"] == unbroken.metrics["validation"]
    states = trained.nets.state_dict(), unbroken.nets.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_training_is_not_gone_on_with_by_another_call(data: Path, recipe: Path, tmp_path: Path) -> None:
    call: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(recipe), "output": tmp_path / "model"}
    short = {"steps": 4}
    train_into(overrides=short, **call)
    before = (tmp_path / "model" / "weights.safetensors").read_bytes()
    with pytest.raises(AtsError, match=r"exists and is not empty.*--resume"):
        train_into(overrides=short, **call)
    for changed, words in [
        ({"overrides": {"steps": 5}}, r"started with --steps 4, not with --steps 5\. "),
        ({"overrides": short, "seed": 1}, "started with --seed 0, not with --seed 1"),
        ({"overrides": short, "folds": 2}, "started without --folds, not with --folds 2"),
        ({"overrides": short | {"freeze": 0.5}}, r"with recipe\.training\.freeze [\d.]+, not with"),
        ({"overrides": short, "validation": 0.5}, "other slides, or another split of them \\(--val"),
    ]:
        with pytest.raises(AtsError, match=words):
            train_into(resume=True, **changed, **call)
    train_into(overrides=short, resume=True, **call)
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == before


def test_it_goes_on_with_slides_that_were_moved(
    data: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named from another folder by other relative paths, or at another place: the same slides by their content."""
    call: dict[str, Any] = {"recipe": str(recipe), "output": tmp_path / "model", "overrides": {"steps": 4}}
    write_model(tmp_path / "init", SPEC)
    monkeypatch.chdir(data)
    train_into(folder=Path("../data"), init="../init", **call)
    call["init"] = str(tmp_path / "init")
    monkeypatch.chdir(tmp_path)
    assert train_into(folder=Path("data"), resume=True, **call).steps_done == 4
    data.rename(tmp_path / "moved")
    assert train_into(folder=tmp_path / "moved", resume=True, **call).steps_done == 4


def test_a_checkpoint_that_is_none_is_a_sentence(data: Path, recipe: Path, tmp_path: Path) -> None:
    call: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(recipe), "output": tmp_path / "model"}
    train_into(overrides={"steps": 2}, **call)
    TrainingLog(tmp_path / "model").last.write_bytes(b"\x80\x04nothing")
    with pytest.raises(AtsError, match=r"last\.safetensors: not a readable checkpoint") as caught:
        train_into(overrides={"steps": 2}, resume=True, **call)
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_checkpoint_with_one_bit_changed_is_refused_or_means_the_same(tmp_path: Path, place: float, bit: int) -> None:
    file = tmp_path / "last.safetensors"
    tensors = {"weight": torch.linspace(-1, 1, 60).reshape(3, 20), "step": torch.tensor(7), "none": torch.empty(0)}
    write_checkpoint(file, tensors, {"step": 7, "best": {}})
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content)
    try:
        found, state = read_checkpoint(file)
    except AtsError as error:
        assert "last.safetensors: not a readable checkpoint" in str(error)
    else:  # the name of the checksum was changed, or padding
        assert {"step": 7, "best": {}}.items() <= state.items() and found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_one_training_at_a_time_writes_into_a_folder(data: Path, recipe: Path, tmp_path: Path) -> None:
    """From the first moment, when there is nothing in the folder but the lock; and not after kill -9."""
    call: dict[str, Any] = {"folder": data, "recipe": str(recipe), "output": tmp_path / "model"}
    with claim_output(tmp_path / "model"):
        for resume in (False, True):
            with pytest.raises(AtsError, match="model: another training writes into this folder"):
                train_into(resume=resume, **call)
    assert not (tmp_path / "model").exists()
    assert begin(data, recipe, tmp_path / "model", kill=(4, 0)) == -signal.SIGKILL
    assert train_into(resume=True, name="model", validation=0.2, overrides={"steps": 40}, **call).steps_done == 40


def test_a_folder_that_filled_while_the_slides_were_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.safetensors").write_text("of another training")
    with pytest.raises(AtsError, match="exists and is not empty"), claim_output(tmp_path / "model"):
        raise AssertionError("claimed")
    with claim_output(tmp_path / "model", resume=True):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "not mounted")
    with (
        pytest.raises(AtsError, match=r"link: a link to .*not mounted, which is not there"),
        claim_output(tmp_path / "link"),
    ):
        raise AssertionError("claimed")


def test_a_split_without_contents_goes_on(data: Path, recipe: Path, tmp_path: Path) -> None:
    """Earlier versions wrote split.csv without the column `content`: contents are not compared, the slides are."""
    call: dict[str, Any] = {"folder": data, "recipe": str(recipe), "output": tmp_path / "model", "checkpoint_every": 2}
    train_into(overrides={"steps": 4}, **call)
    split = tmp_path / "model" / "split.csv"
    with split.open(newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    assert rows[0][-1] == "path"
    with split.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert train_into(overrides={"steps": 4}, resume=True, **call).steps_done == 4
    with split.open("w", newline="") as file:
        csv.writer(file).writerows(rows[:-1])
    with pytest.raises(AtsError, match="started with other slides"):
        train_into(overrides={"steps": 4}, resume=True, **call)
