"""A real Dask cluster: workers of another version, workers that join later, and files that a worker cannot see.

Workers in other folders: tests/test_faults.py.
"""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ats_cli
from ats_cli.inference.executors.worker_program import difference, program, versions
from ats_cli.zoo import find_model
from tests.dask_cluster import dask_scheduler, other_version
from tests.small import noise, write_model, write_slide

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]

SITE = """
import os, time

real = os.stat

def stat(path, *arguments, **options):
    if str(path).endswith("far.tif"):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if str(path).endswith("07.tif"):
        time.sleep(10_000)
    return real(path, *arguments, **options)

os.stat = stat
"""


def other_machine(folder: Path) -> Path:
    """What a worker starts with that has no files called far.tif, and a disk that does not answer for 07.tif."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    return folder


def rows(run: Path) -> dict[str, dict[str, str]]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return {row["slide_id"]: {**row, "seconds": ""} for row in csv.DictReader(file)}


@pytest.mark.slow
def test_two_workers_of_two_versions_one_without_the_file(ats: Run, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    for number in range(4):
        write_slide(slides / f"{number}.tif", noise(60, 60, number))
    write_slide(slides / "far.tif", noise(60, 60, 9))
    call = ("predict", slides, "-m", write_model(tmp_path / "m"))
    assert ats(*call, "-o", tmp_path / "alone", "--quiet")[0] == 0
    with dask_scheduler() as dask:
        cluster = (*call, "--cluster", dask.address, "-o", tmp_path / "run")
        dask.start(tmp_path / "old", other_version(tmp_path / "copy"))
        dask.start(tmp_path / "a", other_machine(tmp_path / "site"))
        status, out, err = ats(*cluster, "--json")
        found = {record["slide_id"]: record for record in map(json.loads, out.splitlines())}
        assert status == 1 and f"has ats 9.9, not {ats_cli.__version__}. It gets no slide." in err
        assert [name for name, record in found.items() if record["status"] != "ok"] == ["far"]
        assert found["far"]["failure"] == "missing" and found["far"]["error"].startswith("far.tif: worker tcp://")
        assert f"cannot see {slides}/far.tif (No such file or directory)" in found["far"]["error"]
        # A worker that has the file: the slide goes to it after the other, and is tried without --retry-failed.
        dask.start(tmp_path / "b")
        assert ats(*cluster, "--quiet")[0] == 0
        assert rows(tmp_path / "run") == rows(tmp_path / "alone")


@pytest.mark.slow
def test_workers_that_come_and_go(ats: Run, tmp_path: Path) -> None:
    """One of another version that joins later gets no slide; what a worker that left had goes to the next."""
    slides = tmp_path / "slides"
    for number in range(12):
        write_slide(slides / f"{number:02}.tif", noise(60, 60, number))
    call = ("predict", slides, "-m", write_model(tmp_path / "m"))
    assert ats(*call, "-o", tmp_path / "alone")[0] == 0
    old = other_version(tmp_path / "copy")
    with dask_scheduler() as dask:
        first = dask.start(tmp_path / "a", other_machine(tmp_path / "site"))

        def change() -> None:
            while not list((tmp_path / "run").glob("slides/*/prediction.json")):
                threading.Event().wait(0.02)
            dask.start(tmp_path / "old", old)
            dask.stop(first)
            dask.start(tmp_path / "b")

        changes = threading.Thread(target=change)
        changes.start()
        status, _, err = ats(*call, "--cluster", dask.address, "-o", tmp_path / "run")
        changes.join()
        assert status == 0 and f"has ats 9.9, not {ats_cli.__version__}. It gets no slide." in err, err
        assert rows(tmp_path / "run") == rows(tmp_path / "alone")


def test_what_a_worker_states_is_compared(tmp_path: Path) -> None:
    model, own = find_model(str(write_model(tmp_path / "m"))), versions()
    stated = program(model.path)
    assert difference(stated, own, model) is None
    for change, words in (
        ({"ats": "9.9"}, f"has ats 9.9, not {ats_cli.__version__}"),
        ({"torch": "1.0"}, "has torch 1.0, not "),
        ({"code": "0"}, f"has other code of ats {ats_cli.__version__}"),
        ({"model": "0"}, f"has another model in {tmp_path}/m \\(0, not {model.hash}\\)".replace("\\", "")),
    ):
        assert (difference(stated | change, own, model) or "").startswith(words)
    assert "cannot run ats" in (difference(ModuleNotFoundError("no ats_cli"), own, model) or "")
    shutil.rmtree(tmp_path / "m")
    assert "cannot read the model" in (difference(program(model.path), own, model) or "")
