"""`ats merge`: what parts of a job array lack is said; and output folders that go away, or are links to nothing."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from small import noise

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]


def rows(run: Path) -> list[str]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return [row["slide_id"] for row in csv.DictReader(file, strict=True)]


@pytest.fixture
def four(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    for i in range(4):
        Image.fromarray(noise(60, 70, i)).save(tmp_path / f"slides/s{i}.png")
    return tmp_path / "slides"


def test_a_part_that_is_missing_is_said(ats: Run, model: Path, four: Path, tmp_path: Path) -> None:
    for part in (1, 3):
        assert ats("predict", four, "-m", model, "-o", tmp_path / f"parts/{part}", "--shard", f"{part}/3")[0] == 0
    parts = sorted((tmp_path / "parts").iterdir())
    status, _, err = ats("merge", *parts, "-o", tmp_path / "all", "--quiet")
    assert status == 1 and "part 2/3 is missing" in err
    assert rows(tmp_path / "all") == ["s0", "s3", "s2"]
    assert ats("predict", four, "-m", model, "-o", tmp_path / "parts/2", "--shard", "2/3")[0] == 0
    parts = sorted((tmp_path / "parts").iterdir())
    status, _, err = ats("merge", *parts, "-o", tmp_path / "all")
    assert status == 0, f"the part that was missing completes the merge: {err}"
    assert rows(tmp_path / "all") == ["s0", "s1", "s2", "s3"]


def test_a_finished_merge_and_one_of_other_runs_are_not_replaced(
    ats: Run, model: Path, four: Path, tmp_path: Path
) -> None:
    for part in (1, 2, 3):
        assert ats("predict", four, "-m", model, "-o", tmp_path / f"parts/{part}", "--shard", f"{part}/3")[0] == 0
    one, two, three = sorted((tmp_path / "parts").iterdir())
    assert ats("merge", one, three, "-o", tmp_path / "all")[0] == 1
    status, _, err = ats("merge", one, two, "-o", tmp_path / "all")
    assert status == 2 and "holds a run already" in err, "part 3 would be lost"
    assert ats("merge", one, two, three, "-o", tmp_path / "all")[0] == 0
    assert ats("merge", one, two, three, "-o", tmp_path / "all")[0] == 2


def test_more_parts_than_slides(ats: Run, model: Path, four: Path, tmp_path: Path) -> None:
    for part in range(1, 7):
        assert ats("predict", four, "-m", model, "-o", tmp_path / f"parts/{part}", "--shard", f"{part}/6")[0] == 0
    status, _, err = ats("merge", *sorted((tmp_path / "parts").iterdir()), "-o", tmp_path / "all")
    assert (status, rows(tmp_path / "all")) == (0, ["s0", "s1", "s2", "s3"]), err


@pytest.mark.parametrize("way", ["deleted", "moved", "replaced"])
def test_an_output_folder_that_goes_away_is_said(model: Path, tmp_path: Path, ats_command: list[str], way: str) -> None:
    (tmp_path / "slides").mkdir()
    for i in range(40):
        Image.fromarray(noise(60, 70, i)).save(tmp_path / f"slides/s{i}.png")
    run = tmp_path / "run"
    command = [*ats_command, "predict", str(tmp_path / "slides"), "-m", str(model), "-o", str(run), "--json"]
    # A pipe that is soon full: the run is in its midst until the rest of its answer is read.
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pipesize": 4096}
    with subprocess.Popen(command, text=True, **streams) as process:
        assert process.stdout is not None
        process.stdout.readline()
        run.rename(tmp_path / "moved")
        if way == "replaced":
            run.mkdir()
        if way == "deleted":
            shutil.rmtree(tmp_path / "moved", ignore_errors=True)
        _, err = process.communicate()
    assert process.returncode == 1
    assert f"{run}: the folder was deleted or replaced while the run was written." in err
    assert "Traceback" not in err
    assert not (run / "run.json").exists(), "half of a run would be taken for one"


@pytest.mark.parametrize("below", ["", "run"])
def test_an_output_that_is_a_link_to_nothing_is_a_wrong_call(
    ats: Run, model: Path, four: Path, tmp_path: Path, below: str
) -> None:
    """As to scratch space that is not mounted."""
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    output, part = tmp_path / "link" / below, tmp_path / "part"
    assert ats("predict", four / "s0.png", "-m", model, "-o", part)[0] == 0
    (tmp_path / "labels.csv").write_text("slide,label\nslides/s0.png,light\n")
    for call in (
        ("predict", four, "-m", model),
        ("merge", part),
        ("evaluate", "--manifest", tmp_path / "labels.csv", "-m", model),
    ):
        status, _, err = ats(*call, "-o", output)
        assert status == 2 and "a link to" in err and "not there" in err, err
    assert not (tmp_path / "scratch").exists()
