"""Whole runs: a night of mixed quality, the plug pulled at any moment, one answer however the work is shared out."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from night import BAD, answers, good_slide, night_model, rows, untimed

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
BAD_READERS = Path(__file__).parents[1] / "bad_readers"


@pytest.mark.slow
def test_the_bad_night(ats: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(BAD_READERS), *([before] if before else [])]))
    slides = tmp_path / "slides"
    for i in range(160):
        good_slide(slides / f"good{i:03}.tif", i)
    for name, make in BAD.items():
        for i in range(5):
            make(slides / f"{name}{i}.tif", i)
    model, run = night_model(tmp_path / "model"), tmp_path / "run"
    how = ("-m", model, "--processes", 2, "--slide-timeout", 15, "-o", run)
    status, _, err = ats("predict", slides, *how, "--quiet")
    assert status == 1
    found = {row["slide_id"]: row for row in rows(run)}
    assert len(found) == 200
    assert list(found) == sorted(found)
    for slide_id, row in found.items():
        kind = slide_id.rstrip("0123456789")
        if kind == "good":
            assert row["status"] == "ok" and not row["error"], row
        else:
            assert row["status"] == "failed" and not row["predicted"], row
            assert row["error"].startswith(f"{slide_id}.") and row["error"] in err, row
            assert row["error"].endswith(".") and "Traceback" not in row["error"], row
    for kind, words in {
        "no_mpp": "Give --mpp",
        "no_tissue": "no tissue found",
        "abort": "SIGABRT",
        "hang": "took more than 15 s",
    }.items():
        assert all(words in found[f"{kind}{i}"]["error"] for i in range(5))
    # Good slides are what they are by themselves.
    alone = tmp_path / "alone"
    assert ats("predict", slides / "good007.tif", "-m", model, "-o", alone, "--quiet")[0] == 0
    assert rows(alone) == [found["good007"]]


def records(run: Path) -> int:
    return len(list(run.glob("slides/*/prediction.json")))


def pull_the_plug(command: list[str], run: Path, slides: int, seconds: float) -> None:
    """Start a run in a process group of its own and kill all of it, `seconds` after so many slides are done."""
    process = subprocess.Popen([*command, str(run), "--processes", "2"], start_new_session=True)
    while process.poll() is None and records(run) < slides:
        time.sleep(0.001)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_the_plug_is_pulled_at_any_moment(ats: Run, ats_command: list[str], tmp_path: Path) -> None:
    slides, model = tmp_path / "slides", night_model(tmp_path / "model")
    lines = ["slide,patient"]
    for i in range(200):
        good_slide(slides / f"s{i:03}.tif", i, 60)
        lines.append(f"slides/s{i:03}.tif,P{i % 50}")
    for i in (20, 75, 199):
        (slides / f"s{i:03}.tif").write_bytes(b"nothing")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    undisturbed = tmp_path / "undisturbed"
    call = ["predict", "--manifest", str(tmp_path / "table.csv"), "--group-by", "patient", "-m", str(model)]
    call += ["--quiet", "-o"]
    assert ats(*call, undisturbed)[0] == 1
    whole = (undisturbed / "predictions_by_group.csv").read_bytes()
    random_ = random.Random(0)
    # As it starts; then once in each sixteenth of the slides. A slide takes a few hundredths of a second.
    moments = [(0, random_.uniform(0, 4)) for _ in range(4)]
    moments += [(int(200 * (i + random_.random()) / 16), random_.uniform(0, 0.03)) for i in range(16)]
    killed_at = []
    for trial, (count, seconds) in enumerate(moments):
        run = tmp_path / f"run{trial}"
        pull_the_plug([*ats_command, *call], run, count, seconds)
        killed_at.append(records(run))
        if trial % 5 == 4:  # and once more as it goes on
            pull_the_plug([*ats_command, *call], run, killed_at[-1] + 10, seconds)
        if (run / "predictions.csv").exists():
            assert all(row in rows(undisturbed) for row in rows(run)), "whole rows"
        assert ats(*call, run)[0] == 1
        assert untimed(run) == untimed(undisturbed), moments[trial]
        assert (run / "predictions_by_group.csv").read_bytes() == whole
        assert answers(run) == answers(undisturbed), moments[trial]
        assert not list(run.rglob("*.part"))
        state = json.loads((run / "run.json").read_text())
        assert state["counts"] == {"slides": 200, "ok": 197, "failed": 3} and state["ended"]
    assert sum(0 < n < 200 for n in killed_at) >= 12, f"in the middle of slides: {killed_at}"


def test_one_answer_however_the_work_is_shared_out(ats: Run, tmp_path: Path) -> None:
    slides, model = tmp_path / "slides", night_model(tmp_path / "model", net="timm:resnet18")
    for i, side in enumerate((130, 500, 1700, 260, 90)):  # the large one is seen in strips
        good_slide(slides / f"s{i}.tif", i, side)
    call = ("predict", slides, "-m", model, "--quiet", "-n", 20)
    here = tmp_path / "here"
    assert ats(*call, "-o", here)[0] == 0
    assert {row["tiles"] for row in rows(here)} == {"20"}
    for name, options in {
        "threads": ("--threads", 3),
        "one": ("--processes", 1, "--threads", 1),
        "two": ("--processes", 2),
    }.items():
        assert ats(*call, "-o", tmp_path / name, *options)[0] == 0
        assert rows(tmp_path / name) == rows(here), name
        assert answers(tmp_path / name) == answers(here), name
    for i in (3, 1, 2):
        assert ats(*call, "-o", tmp_path / f"part{i}", "--shard", f"{i}/3")[0] == 0
    parts = sorted(tmp_path.glob("part?"), reverse=True)
    status, _, err = ats("merge", *parts, "-o", tmp_path / "merged")
    assert status == 0 and "5 slides of 3 runs are in" in err
    assert rows(tmp_path / "merged") == rows(here)
    assert answers(tmp_path / "merged") == answers(here)
    # A merged run is a run like any other: nothing is left to do.
    assert ats(*call, "-o", tmp_path / "merged")[0] == 0
    backwards = [slides / f"s{i}.tif" for i in (4, 3, 2, 1, 0)]
    assert ats("predict", *backwards, *call[2:], "-o", tmp_path / "backwards")[0] == 0
    assert rows(tmp_path / "backwards")[::-1] == rows(here)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(ats: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'ats-cli[cluster]'")
    before = os.environ.get("PYTHONPATH")
    slides, model = tmp_path / "slides", night_model(tmp_path / "model")
    for i in range(12):
        good_slide(slides / f"s{i:02}.tif", i)
    call = ("predict", slides, "-m", model, "--quiet", "-o")
    assert ats(*call, tmp_path / "here")[0] == 0
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(BAD_READERS), *([before] if before else [])]))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        status, _, err = ats(*call, tmp_path / "cluster", "--cluster", address)
        assert status == 0, err
        assert rows(tmp_path / "cluster") == rows(tmp_path / "here")
        assert answers(tmp_path / "cluster") == answers(tmp_path / "here")
        good_slide(slides / "abort.tif", 1)
        good_slide(slides / "hang.tif", 1)
        pids = set(cluster.scheduler.workers)
        status, _, err = ats(*call, tmp_path / "cluster", "--cluster", address, "--slide-timeout", 10)
        assert status == 1
        assert "abort.tif: crashed" in err and "hang.tif: took more than 10 s" in err
        assert set(cluster.scheduler.workers) == pids, "the workers of the cluster are the same"
        assert [row["status"] for row in rows(tmp_path / "cluster")].count("ok") == 12
    status, out, err = ats("predict", slides / "s01.tif", "-m", model, "--cluster", "tcp://127.0.0.1:1", "--quiet")
    assert (status, out) == (2, "")
    assert "no Dask scheduler answers there" in err
