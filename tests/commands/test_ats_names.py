"""Names, metadata and models that attack the terminal, and streams that cannot write a name or are closed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.ats_process import ats_series

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]


def is_safe(text: str) -> bool:
    """Whether a text has no character but a line break that does more than to be shown."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066" for c in text.replace("\n", ""))


HOSTILE = {
    "\x1b]52;c;ZXZpbA==\x07clip.png": "clip",
    "\x9b31mred.png": "red",
    "=1+1.png": "=1+1",
    "gnp\u202e.png": "gnp",
    "two\nlines.png": "two lines",
    "...png": "...png",
    "tiles.csv.png": "tiles.csv.png",
    "caf\udce9.png": "caf\\xe9",
    "日本.png": "日本",
    "\udcff" * 120 + ".png": None,  # as long as a name can be
}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of slides with hostile names, one of them broken."""
    folder = tmp_path / "slides"
    folder.mkdir()
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(picture)
    for name in HOSTILE:
        shutil.copy(picture, folder / name)
    (folder / "bad\x1b[2J\udcfe.png").write_bytes(b"no picture")
    return folder


def test_names_reach_no_terminal_as_more_than_text(ats: Run, model: Path, hostile: Path, tmp_path: Path) -> None:
    slides = (hostile, hostile / "...png")  # in a folder it would be a hidden file
    status, out, err = ats("predict", *slides, "-m", model, "-o", tmp_path / "run", "--processes", 0)
    assert status == 1 and "1 of 11 slides failed" in err
    for text in (out, err):
        assert is_safe(text) and "52;c" not in text and "2J" not in text
    for slide_id in filter(None, HOSTILE.values()):
        assert slide_id in out
    with (tmp_path / "run" / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["slide_id"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 11 and "'=1+1" in rows and "=1+1" not in rows
    assert sum(row["status"] == "ok" for row in rows.values()) == 10
    for slide in json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["slides"]:
        slide["slide_id"].encode(), slide["path"].encode()
        assert (tmp_path / "run" / "slides" / slide["slide_id"] / "prediction.json").is_file()

    status, out, err = ats("predict", *slides, "-m", model, "-o", tmp_path / "run", "--processes", 0)
    assert status == 1 and "11 of 11 slides are in" in err

    status, out, err = ats("predict", *slides, "-m", model, "--json", "--processes", 0)
    assert is_safe(out) and len([json.loads(line) for line in out.splitlines()]) == 11
    status, out, err = ats("info", *slides)
    assert status == 1 and is_safe(out + err)
    status, out, err = ats("heatmap", *slides, "-m", model, "-o", tmp_path / "maps")
    assert status == 1 and len(list((tmp_path / "maps").iterdir())) == 10


def test_a_slide_with_an_escaped_name_is_extended(ats: Run, model: Path, hostile: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ("predict", hostile / "caf\udce9.png", "-m", model, "--sampler", "murthy", "--tiles", 2, "-o", run)
    assert ats(*arguments)[0] == 0
    status, _, err = ats("predict", "--extend", "--tiles", 4, "-o", run)
    assert status == 0, err
    assert json.loads((run / "slides" / "caf\\xe9" / "prediction.json").read_text())["tiles"] == 4


def test_a_model_says_text_only(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    text = (folder / "model.toml").read_text(encoding="utf-8")
    evil = r"\u001b]52;c;ZXZpbA==\u0007"
    text = text.replace('notice = "', f'notice = "{evil}').replace('"light"', f'"{evil}light"')
    (folder / "model.toml").write_text(text, encoding="utf-8")
    (folder / "SHA256SUMS").unlink()
    with (folder / "README.md").open("a") as card:
        card.write("\x1b[2J\x1b]0;title\x07")
    for arguments in (("predict", slides / "one.png", "-m", folder), ("models", "show", folder)):
        _, out, err = ats(*arguments)
        assert "light" in out and is_safe(out + err) and "52;c" not in out + err


def test_a_wrong_call_quotes_text_only(ats: Run) -> None:
    evil = "\x1b]52;c;ZXZpbA\x07no\x9b31m"
    for call in (("predict", f"--{evil}"), ("predict", "--mpp", evil), (evil,), ("models", evil), ("predict", evil)):
        status, out, err = ats(*call)
        assert status == 2 and err and is_safe(out + err), call


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "iso-8859-1:strict"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_name_that_the_encoding_lacks_ends_nothing(model: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("日本", "caf\udce9", "😀", "µ"):
        Image.new("RGB", (80, 60), (200, 100, 50)).save(slides / "new.png")
        (slides / "new.png").rename(slides / f"{name}.png")
    call = ats_series(
        ("info", slides, "--json"),
        ("predict", slides, "-m", model, "-o", tmp_path / "run"),
        ("heatmap", slides, "-m", model, "-o", tmp_path / "maps"),
    )
    done = subprocess.run(call, env={**os.environ, **environment}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode(environment.get("PYTHONIOENCODING", "ascii").partition(":")[0]).splitlines()
    ids = {json.loads(line)["slide_id"] for line in lines if line.startswith("{")}
    assert ids == {"日本", "caf\\xe9", "😀", "µ"}
    assert any("caf\\xe9" in line for line in lines if not line.startswith("{")), "in the table"
    assert {folder.name for folder in (tmp_path / "run" / "slides").iterdir()} == ids
    assert {picture.stem for picture in (tmp_path / "maps").iterdir()} == ids


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_nothing_of_a_run(model: Path, slides: Path, tmp_path: Path, closed: str) -> None:
    call = ("predict", slides / "one.png", "-m", model, "-o")
    runs = (tmp_path / "table", tmp_path / "json")
    series = ats_series((*call, runs[0]), (*call, runs[0], "--overwrite"), (*call, runs[1], "--json"))
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *series], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for run in runs:
        assert json.loads((run / "slides" / "one" / "prediction.json").read_text())["status"] == "ok"
        assert (run / "predictions.csv").read_text().startswith("slide_id,")


@pytest.mark.parametrize("json_lines", [[], ["--json"]])
def test_a_closed_pipe_ends_quietly(ats_command: list[str], slides: Path, json_lines: list[str]) -> None:
    call = [*ats_command, "info", str(slides / "one.png"), *json_lines]
    done = subprocess.run(["sh", "-c", '"$@" | true', "sh", *call], capture_output=True, text=True, check=False)
    assert not done.stderr


def test_one_bad_entry_of_a_folder_is_one_failed_slide(ats: Run, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    Image.new("RGB", (80, 60)).save(folder / "good.png")
    (folder / "link.svs").symlink_to("/nowhere/x.svs")
    (folder / "circle.svs").symlink_to(folder / "circle.svs")
    os.mkfifo(folder / "pipe.svs")
    (folder / "second.png").symlink_to("good.png")
    assert ats("heatmap", folder / "good.png", "-m", model, "-o", folder / "map.png")[0] == 0
    for _ in range(2):  # the second time its own run folder lies there, too
        status, out, err = ats("predict", folder, "-m", model, "-o", folder / "run", "--json")
        assert status == 1 and "3 of 5 slides failed" in err
        assert "link.svs: a link to /nowhere/x.svs, which is not there" in err and "passed over in folders: 1" in err
        assert "1 slide is another name of a file that is here already: second (as good)" in err
        records = {record["slide_id"]: record for record in map(json.loads, out.splitlines())}
        assert {name for name, record in records.items() if record["status"] == "ok"} == {"good", "second"}
        assert all("unforeseen" not in (record["failure"] or "") for record in records.values())
    status, out, err = ats("info", folder)
    assert status == 1 and "1 picture of ats, 1 run folder of ats" in err
    assert ats("info", folder / "good.png", folder / "link.svs")[0] == 2
    assert ats("info", folder / "good.png", folder / "missing.svs")[0] == 2


def test_long_names_in_two_folders_have_pictures_and_a_run(ats: Run, model: Path, tmp_path: Path) -> None:
    for folder in ("a" * 150, "b" * 150):
        (tmp_path / "slides" / folder).mkdir(parents=True)
        for name in ("x" * 250, "x" * 249 + "y"):
            Image.new("RGB", (80, 60)).save(tmp_path / "slides" / folder / f"{name}.png")
    call = (tmp_path / "slides", "-m", model, "-o")
    assert ats("heatmap", *call, tmp_path / "maps")[0] == 0 and len(list((tmp_path / "maps").iterdir())) == 4
    assert ats("predict", *call, tmp_path / "run", "--processes", 0)[0] == 0
    assert len(list((tmp_path / "run" / "slides").rglob("prediction.json"))) == 4
