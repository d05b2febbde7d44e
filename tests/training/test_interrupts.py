"""A training that is interrupted at any point goes on to the same weights, to the bit."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from small import small_spec, square, write_model, write_slide
from trainings import train_into

from ats_cli.errors import AtsError
from ats_cli.inference.executors.executor import usable_cores
from ats_cli.records import FeatureSpec
from ats_cli.training.loop import interrupts
from ats_cli.training.loop.interrupts import stop_requests
from ats_cli.training.loop.processes import TORCH_THREADS
from ats_cli.training.output import interruption_message
from ats_cli.training.train import TrainingProgress

pytestmark = pytest.mark.integration

# BatchNorm, of whose statistics a step that is broken off would leave a trace; 3 of 7 slides a step, so that most
# batches cross an epoch; weight decay, patience and a centre, which all have a memory.
SPEC = small_spec(
    {"prior": "none"},
    {
        "lr": 0.01, "steps": 7, "batch_size": 3, "flips": True, "second_draw": True, "validate_every": 2, "freeze": 0.3,
        "weight_decay": 0.01, "crop": 16, "patience": 9,
    },
    tiles=4,
    features=FeatureSpec(scale=1.0, patch_size=16, net="timm:test_byobnet"),
)  # fmt: skip
PLACES = re.compile(r"ats_cli/(training|results)/|torch/(optim/adam|nn/modules/batchnorm)\.py")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all trainings of this file are called with."""
    folder = tmp_path_factory.mktemp("interrupts")
    for number in range(9):
        pixels = square(97, 83, 5 * number, 3 * number, 30, (250, 10)[number % 2], ground=128)
        write_slide(folder / "data" / ("bright", "dark")[number % 2] / f"{number:02d}.tif", pixels)
    (write_model(folder / "recipe", SPEC) / "weights.safetensors").unlink()
    more = {"checkpoint_every": 3, "name": "small", "resume": True, "threads": 1}
    return {"folder": folder / "data", "manifest": None, "recipe": str(folder / "recipe"), "validation": 0.2, **more}


def facts(output: Path) -> dict[str, Any]:
    """All that a training leaves, but for the seconds it took and when it was begun."""
    found: dict[str, Any] = {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.suffix in (".safetensors", ".toml", ".md") or path.name in ("metrics.json", "split.csv")
    }
    for path in output.rglob("history.csv"):
        with path.open(newline="") as file:
            found[str(path.relative_to(output))] = [[row[0], *row[2:]] for row in csv.reader(file)]
    return found


Line = tuple[str, int]


class At:
    """Does something when the training is at a line for the n-th time, and counts how often it is at which."""

    def __init__(self, line: Line = ("", 0), time: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self.line, self.time, self.act = line, time, act
        self.counts: Counter[Line] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if not PLACES.search(frame.f_code.co_filename):
            return None
        if event == "line":
            line = frame.f_code.co_filename, frame.f_lineno
            self.counts[line] += 1
            if line == self.line and self.counts[line] == self.time:
                sys.settrace(None)
                self.act()
        return self

    def train(self, **given: Any) -> None:
        sys.settrace(self)
        try:
            with suppress(KeyboardInterrupt):
                train_into(**given)
        finally:
            sys.settrace(None)


def interrupt() -> None:
    """Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def impatient() -> None:
    """Ctrl-C a second time, of somebody who does not wait for the end of the step."""
    raise KeyboardInterrupt


@pytest.fixture(scope="module", params=[0, 2], ids=["alone", "folds"])
def whole(request: pytest.FixtureRequest, given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training that nothing interrupts: what it is called with, what it leaves, and how often it is at which line."""
    given = given | {"folds": request.param}
    output = tmp_path_factory.mktemp("whole") / "model"
    counter = At()
    counter.train(output=output, **given)
    return given, facts(output), counter.counts


# TensorBoard's own thread may be interrupted as it is set up, and then writes into a folder that is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("act", [interrupt, impatient])
@pytest.mark.parametrize("seed", [2, 4, 5])
def test_wherever_it_is_interrupted_it_ends_as_if_it_were_not(
    whole: Any, tmp_path: Path, act: Callable[[], None], seed: int
) -> None:
    """At a line of a step and at any other, drawn at random: of a validation, a checkpoint, the model folder, between
    folds."""
    given, expected, counts = whole
    drawn = random.Random(f"{seed} {act.__name__}")
    of_steps = [line for line in sorted(counts) if counts[line] >= SPEC.training.steps]
    for lines in (of_steps, sorted(counts)):
        line = drawn.choice(lines)
        At(line, drawn.randint(1, counts[line]), act).train(output=tmp_path / "model", **given)
    train_into(output=tmp_path / "model", **given)
    found = facts(tmp_path / "model")
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


@pytest.mark.parametrize("end", ["Ctrl-C", "Ctrl-C twice", "error"])
def test_folds_that_are_done_stay(given: dict[str, Any], tmp_path: Path, end: str) -> None:
    """Whatever ends the second of three folds, and it is not trained again."""
    output, steps = tmp_path / "model", list[int]()

    def stop(progress: TrainingProgress) -> None:
        steps.append(progress.step)
        if len(steps) == SPEC.training.steps + 2:
            if end == "error":
                raise AtsError("no longer a number")
            (interrupt if end == "Ctrl-C" else impatient)()

    with suppress(KeyboardInterrupt, AtsError):
        train_into(output=output, on_progress=stop, folds=3, **given)
    first = facts(output / "folds" / "1")
    assert "checkpoints/last.safetensors" in first
    number = "2 folds" if end == "Ctrl-C" else "1 fold"
    assert interruption_message(output) == f"{output} has the last checkpoints of {number}."
    with pytest.raises(AtsError, match=r"exists and is not empty.*--resume"):
        train_into(output=output, **given | {"resume": False})
    steps.clear()
    train_into(output=output, on_progress=lambda progress: steps.append(progress.step), folds=3, **given)
    begun = 3 if end == "Ctrl-C" else 1
    assert steps == [*range(begun, 8), *range(1, 8), *range(1, 8)]
    assert facts(output / "folds" / "1") == first
    assert interruption_message(output) == f"{output} has the best model so far."


def test_a_signal_is_a_request_and_a_later_one_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a launcher repeats at once is the same Ctrl-C; a sentence comes where the step takes long."""
    monkeypatch.setattr(interrupts, "REPEATED", 0.05)
    said = threading.Event()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), stop_requests(said.set) as stop:
        assert not stop.made
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.made
        assert said.wait(60)
        interrupt()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests(lambda: None) as stop:
            interrupt()
            assert not stop.made
    finally:
        signal.signal(signal.SIGINT, before)


def begin(given: dict[str, Any], output: Path, *more: str) -> subprocess.Popen[str]:
    options = ("--val", "0.2", "--checkpoint-every", "3", "--device", "cpu", "--name", "small", "--resume")
    command = [sys.executable, "-m", "ats_cli", "train", str(given["folder"]), "--recipe", given["recipe"], *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [*command, "-o", str(output), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--devices", "2")], ids=["one process", "two processes"])
def test_a_process_that_gets_ctrl_c_says_what_is_kept_and_goes_on(
    given: dict[str, Any], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """A signal to the first of two processes ends both after the same step; BatchNorm's statistics are of both."""
    assert begin(given, tmp_path / "whole", *options).wait() == 0
    process, history = begin(given, tmp_path / "cut", *options), tmp_path / "cut" / "history.csv"
    while process.poll() is None and not history.exists():
        time.sleep(0.002)
    time.sleep(random.Random(os.urandom(4)).uniform(0, 0.1))
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode in (0, 130), said
    if process.returncode == 130:
        assert f"{tmp_path / 'cut'} has " in said or "no checkpoint yet" in said
        assert "The same call with --resume continues it." in said and "Traceback" not in said
    last = begin(given, tmp_path / "cut", *options)
    said = last.communicate()[1]
    assert last.returncode == 0, said
    assert facts(tmp_path / "cut") == facts(tmp_path / "whole") | {
        "README.md": (tmp_path / "cut" / "README.md").read_bytes()  # which has the call
    }


def test_it_goes_on_in_as_many_threads_as_it_was_begun_with(given: dict[str, Any], tmp_path: Path) -> None:
    """Whatever OMP_NUM_THREADS says then: the weights are the same. More than there are cores are not taken, said."""
    said: list[str] = []

    def on_message(message: str) -> None:
        said.extend([message] if "Its weights will differ" in message else [])

    threads = torch.get_num_threads()
    train_into(output=tmp_path / "whole" / "m", **given)
    cut = given | {"output": tmp_path / "cut" / "m", "on_message": on_message}
    train_into(on_progress=lambda p: interrupt() if p.step == 3 else None, **cut)
    torch.set_num_threads(other := 2 if threads == 1 else 1)
    try:
        train_into(**cut)
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(threads)
    # More threads than cores would be slow.
    assert said == [] or usable_cores() < threads
    assert said or facts(tmp_path / "cut" / "m") == facts(tmp_path / "whole" / "m")
    file, said[:] = tmp_path / "cut" / "m" / "training.json", []
    file.write_text(file.read_text().replace(f'"{TORCH_THREADS}": {threads}', f'"{TORCH_THREADS}": 4000'))
    train_into(**cut)
    assert len(said) == 1 and f"OMP_NUM_THREADS) 4000, now {threads}. Its weights will differ" in said[0]
