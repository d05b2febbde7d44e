"""Several processes, a batch in parts, another precision: the same training, shared out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small import noise, small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.errors import AtsError
from ats_cli.nets.geometry import geometry_on
from ats_cli.training import LabelledSlide, labelled_slides
from ats_cli.training.dataset.slide_store import SlideView
from ats_cli.training.loop import step
from ats_cli.training.loop.processes import launch
from ats_cli.training.output import claim_output
from ats_cli.training.train import TrainingProgress

pytestmark = pytest.mark.integration

SPEC = small_spec(
    {"prior": "none", "channels": (8, 8)},
    {
        "lr": 0.005,
        "steps": 12,
        "batch_size": 5,
        "flips": True,
        "second_draw": True,
        "freeze": 0.25,
        "balance": "weights",
    },
    tiles=6,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(9):
        label, light = (("bright", 250), ("dark", 10), ("dark", 30))[number % 3]
        pixels = square(97, 83, 5 * number, 3 * number, 30, light, ground=128)
        write_slide(tmp_path / "data" / label / f"{number:02d}.tif", pixels)
    return tmp_path / "data"


def curve(folder: Path) -> list[list[float]]:
    """Loss, accuracy, attention drawn, effective positions and the figures of validations, by step."""
    with (folder / "history.csv").open(newline="") as file:
        return [[float(cell or "nan") for cell in row[3:]] for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("way", ["alone", "torchrun"])
def test_two_processes_learn_as_one_does(data: Path, tmp_path: Path, way: str) -> None:
    """Over gloo, with the same batch in all: figures and weights within rounding; only the first writes and talks."""
    (write_model(tmp_path / "recipe", SPEC) / "weights.safetensors").unlink()
    (tmp_path / "regions").mkdir()
    everything = {"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 100], [0, 100]]]}
    (tmp_path / "regions" / "00.geojson").write_text(json.dumps(everything))
    train_into(
        folder=data,
        manifest=None,
        recipe=str(tmp_path / "recipe"),
        output=tmp_path / "one",
        validation=0.3,
        roi=tmp_path / "regions",
    )
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2") if way == "torchrun" else ()
    options = ("--val", "0.3", "--roi", "regions", "--device", "cpu", "--devices", "2", "-o", "two")
    command = (sys.executable, *torchrun, "-m", "ats_cli", "train", str(data), "--recipe", "recipe", *options)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "two\n"
    assert done.stderr.count("step 12 of 12") == 1
    assert done.stderr.count("8 of 9 slides have no regions") == 1
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == len(two) == 12
    np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)


def test_only_the_first_process_removes_a_folder_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun starts all at once: another process may make the folder, and end before the first has written to it."""
    for rank, is_left in (("1", True), ("0", False)):
        monkeypatch.setenv("RANK", rank)
        with claim_output(tmp_path / rank):
            pass
        assert (tmp_path / rank).exists() == is_left


def test_a_batch_in_parts_gives_the_same_gradient(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slides = labelled_slides(data, None)
    runs: list[list[TrainingProgress]] = [[], [], []]
    states = []
    for run, slides_of_a_part in zip(runs, (100, 3, 1), strict=True):
        monkeypatch.setattr(step, "part_size", lambda *_, size=slides_of_a_part: size)
        states.append(train_slides(SPEC, slides, slides[:3], on_progress=run.append).nets.state_dict())
    for run, state in zip(runs[1:], states[1:], strict=True):
        for whole, part in zip(runs[0], run, strict=True):
            assert part.loss == pytest.approx(whole.loss, rel=1e-4)
        for name, tensor in state.items():
            # Not the biases: attention does not depend on its last, nor GroupNorm of one channel on those before it.
            # Their gradients are rounding, which Adam makes large.
            if name.endswith("weight"):
                torch.testing.assert_close(tensor, states[0][name], rtol=1e-3, atol=1e-4)


def test_bf16_is_near_fp32_and_learns(data: Path) -> None:
    slides = labelled_slides(data, None)
    runs: dict[str, list[TrainingProgress]] = {"fp32": [], "bf16": []}
    for precision, run in runs.items():
        train_slides(SPEC, slides, [], on_progress=run.append, precision=precision)
    losses = {precision: [p.loss for p in run] for precision, run in runs.items()}
    assert losses["bf16"] != losses["fp32"]
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=0.2)


def test_what_cannot_be_shared_out_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, words in [
        (("cpu", 1, "fp16"), "fp16 needs a CUDA device"),
        (("cpu", 1, "fp8"), "not known. Choose fp32"),
    ]:
        with pytest.raises(AtsError, match=words):
            launch(*arguments)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(AtsError, match="there are 1 CUDA devices"):
        launch("cuda", 2)


def test_crops_are_learnt_from(tmp_path: Path) -> None:
    """Of a slide four times as wide as the crop, the tiles drawn lie in squares of the crop's size."""
    view = noise(40, 64)
    geometry = geometry_on(small_spec({"stride": 2}), None)
    allowed = np.zeros((20, 32), bool)
    allowed[3, 30] = allowed[15, 2] = True
    whole = SlideView(view, allowed, geometry)
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(200):
        crop = whole.crop(16, rng)
        assert crop.pixels.shape == (16, 16, 3) and crop.allowed.shape == (8, 8) and crop.allowed.any()
        rows, cols = crop.top * 2, crop.left * 2
        assert np.array_equal(crop.pixels, view[rows : rows + 16, cols : cols + 16])
        boxes = crop.boxes(np.flatnonzero(crop.allowed))
        assert {tuple(box) for box in boxes} <= {tuple(box) for box in whole.boxes(np.flatnonzero(allowed))}
        found.add((crop.top, crop.left))
    assert len(found) > 20
    assert whole.crop(0, rng) is whole and whole.crop(64, rng) is whole
    slides = [
        LabelledSlide(str(i), write_slide(tmp_path / f"{i}.tif", noise(200, 260, i)), "ab"[i % 2]) for i in range(4)
    ]
    spec = small_spec({"stride": 2}, {"steps": 3, "crop": 16}, classes=("a", "b"), tiles=3)
    assert train_slides(spec, slides, slides).steps_done == 3
