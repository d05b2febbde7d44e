"""Worker processes: what happens to one slide is not noticed by its neighbours; the end comes when it is asked for."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
BAD_READERS = Path(__file__).parents[1] / "bad_readers"


@pytest.fixture
def with_bad_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(BAD_READERS), *([before] if before else [])]))


def rows(run: Path) -> dict[str, dict[str, str]]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return {row["slide_id"]: row for row in csv.DictReader(file, strict=True)}


def copies(slides: Path, *names: str) -> None:
    for name in names:
        shutil.copy(slides / "one.png", slides / name)


def test_a_crash_and_a_hang_cost_their_own_slides(
    ats: Run, model: Path, slides: Path, tmp_path: Path, with_bad_readers: None
) -> None:
    copies(slides, "abort.png", "hang.png", *(f"good{i}.png" for i in range(4)))
    run = tmp_path / "run"
    status, out, err = ats(
        "predict", slides, "-m", model, "--processes", 2, "--slide-timeout", 8, "-o", run, "--json", "--quiet"
    )
    assert status == 1
    found = rows(run)
    failed = {name: row["error"] for name, row in found.items() if row["status"] == "failed"}
    assert set(failed) == {"abort", "broken", "hang"}
    assert failed["abort"].startswith("abort.png: crashed the process that read it (SIGABRT). ")
    assert failed["hang"].startswith("hang.png: took more than 8 s and was stopped. ")
    assert all(sentence in err for sentence in failed.values())
    assert len(err.splitlines()) == 4, "a sentence each, and the count"
    assert {json.loads(line)["slide_id"] for line in out.splitlines()} == set(found)
    alike = [{**row, "slide_id": "", "path": "", "seconds": ""} for name, row in found.items() if name.startswith("go")]
    assert len({row["positions"] for row in alike}) == 1


@pytest.mark.parametrize("processes", [(), ("--processes", 0)])
def test_a_time_limit_holds_without_worker_processes(
    ats: Run, model: Path, slides: Path, tmp_path: Path, with_bad_readers: None, processes: tuple[object, ...]
) -> None:
    copies(slides, "hang.png")
    call = ("predict", slides / "hang.png", "-m", model, *processes, "--slide-timeout", 1, "--quiet")
    status, _, err = ats(*call)
    assert status == 1 and "hang.png: took more than 1 s and was stopped. " in err


def test_the_process_that_hands_out_the_work_needs_no_torch(model: Path, slides: Path, ats_command: list[str]) -> None:
    command = [*ats_command, "predict", str(slides), "-m", str(model), "--processes", "1", "--quiet"]
    code = "import sys; from ats_cli.app import run; run(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run([command[0], "-c", code, *command[3:]], capture_output=True, text=True, check=True)
    assert "two [x]" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_soon_and_keeps_what_is_done(
    model: Path, slides: Path, tmp_path: Path, ats_command: list[str], with_bad_readers: None, sent: int
) -> None:
    (slides / "broken.svs").unlink()
    copies(slides, "zzz.png", "hang.png")
    run = tmp_path / "run"
    command = [*ats_command, "predict", str(slides), "-m", str(model), "--processes", "2", "-o", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and len(list((run / "slides").glob("*/prediction.json"))) < 3:
        time.sleep(0.1)
    process.send_signal(sent)
    out, err = process.communicate(timeout=600)  # not the hour that the slide that hangs may take
    assert process.returncode == 130
    assert "interrupted after 3 of 4 slides" in err and "the same call continues the run" in err
    assert "zzz" in out
    assert set(rows(run)) == {"one", "two [x]", "zzz"}


def test_what_a_worker_cannot_do_is_a_wrong_call(ats: Run, model: Path, slides: Path) -> None:
    status, out, err = ats("predict", slides, "-m", model, "--processes", 1, "--device", "cuda:99", "--quiet")
    assert (status, out) == (2, "")
    assert "--device cuda:99: " in err
    assert len(err.splitlines()) == 1


def test_a_slide_that_is_written_as_the_interrupt_comes_is_counted_and_told(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ats_cli.results.run.folder import RunFolder

    add = RunFolder.add

    def interrupted(self: RunFolder, prediction: object) -> None:
        add(self, prediction)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)

    (slides / "broken.svs").unlink()
    monkeypatch.setattr(RunFolder, "add", interrupted)
    status, out, err = ats("predict", slides, "-m", model, "-o", tmp_path / "run", "--json")
    assert status == 130
    assert "interrupted after 1 of 2 slides" in err
    assert [json.loads(line)["slide_id"] for line in out.splitlines()] == list(rows(tmp_path / "run")) == ["one"]


def test_a_file_that_may_not_grow_is_one_sentence(
    model: Path, slides: Path, tmp_path: Path, ats_command: list[str]
) -> None:
    command = [*ats_command, "predict", str(slides / "one.png"), "-m", str(model), "-o", str(tmp_path / "run")]
    limited = ["bash", "-c", 'ulimit -f 2; exec "$@"', "bash", *command, "--quiet", "-n", "200"]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "larger than a file may be here" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.part"))
