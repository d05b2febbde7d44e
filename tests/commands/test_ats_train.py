"""`ats train`, on slides that take no time."""

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two classes, dark and light noise, four slides each."""
    rng = np.random.default_rng(0)
    for label, brightest in (("dark", 80), ("light", 255)):
        folder = tmp_path / "labelled" / label
        folder.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(rng.integers(0, brightest, (64, 80, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "labelled"


def test_what_is_trained_can_be_used(ats: Run, labelled: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "new"
    options = ("--recipe", model, "--steps", 2, "--batch-size", 2, "-n", 2, "--val", 0.25, "--device", "cpu")
    status, out, err = ats("train", labelled, "-o", output, *options)
    assert (status, out) == (0, f"{output}\n")
    assert "step 2 of 2" in err
    assert "\x1b" not in err
    assert sorted(p.name for p in output.iterdir() if p.name not in ("tensorboard", ".lock")) == [
        "README.md",
        "SHA256SUMS",
        "checkpoints",
        "data.json",
        "history.csv",
        "metrics.json",
        "model.toml",
        "split.csv",
        "training.json",
        "weights.safetensors",
    ]
    status, out, _ = ats("predict", labelled / "dark", "-m", output, "--device", "cpu")
    assert status == 0
    assert "2 of " in out
    # A folder that holds something is not written over; what is finished is finished.
    assert ats("train", labelled, "-o", output, *options)[0] == 2
    weights = (output / "weights.safetensors").read_bytes()
    assert ats("train", labelled, "-o", output, *options, "--resume")[:2] == (0, f"{output}\n")
    assert (output / "weights.safetensors").read_bytes() == weights


def test_a_recipe_is_a_file_of_any_name(ats: Run, labelled: Path, model: Path, tmp_path: Path) -> None:
    """The file counts, not the model beside it; the training goes on with it, from anywhere."""
    folder = Path(shutil.copytree(model, tmp_path / "recipes"))
    table = tomllib.loads((folder / "model.toml").read_text())
    table["attention"]["channels"] = [3]
    mine = folder / "mine.toml"
    mine.write_text(tomli_w.dumps(table))
    output = tmp_path / "new"
    options = ("--recipe", mine, "--steps", 2, "--batch-size", 2, "-n", 2, "--val", 0.25, "--device", "cpu")
    assert ats("train", labelled, "-o", output, *options)[:2] == (0, f"{output}\n")
    assert not (output / "mine.toml").exists()
    assert tomllib.loads((output / "model.toml").read_text())["attention"]["channels"] == [3]
    assert ats("train", labelled, "-o", output, *options, "--resume")[:2] == (0, f"{output}\n")
    mine.write_text("tiels = 3\n")
    status, _, err = ats("train", labelled, "-o", tmp_path / "other", *options)
    assert status == 2 and f"{mine}: unknown key" in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["DATA", "--manifest", "DATA/table.csv"],
        ["DATA/dark"],
        ["DATA/missing"],
        ["DATA", "--recipe", "no-such-recipe"],
        ["DATA", "--val", "1.5"],
        ["DATA", "--epochs", "0"],
        ["DATA", "--epochs", "2", "--steps", "5"],
        ["DATA", "--plane", "z"],
        ["DATA", "--roi", "DATA/missing"],
    ],
)
def test_wrong_calls(ats: Run, labelled: Path, tmp_path: Path, arguments: list[str]) -> None:
    words = [word.replace("DATA", str(labelled)) for word in arguments]
    status, out, err = ats("train", *words, "-o", tmp_path / "new")
    assert (status, out) == (2, "")
    assert err
    assert not (tmp_path / "new").exists()


def test_smoke(ats: Run) -> None:
    """The minute that shows whether all works here."""
    status, out, err = ats("train", "--smoke", "--device", "cpu")
    assert status == 0, err
    assert "of 24 synthetic slides correct after 60 steps on cpu" in out and "predicting work" in out


def test_a_model_folder_must_be_named(ats: Run, labelled: Path) -> None:
    status, out, err = ats("train", labelled)
    assert (status, out) == (2, "") and "-o my-model" in err
