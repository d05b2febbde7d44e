"""The examples for workflow engines run as they are committed, where the engine is to be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "commands"))

from night import good_slide, night_model, rows

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with slides, one of them bad, a model, a run of them in one go, and `ats` on the path."""
    for i in range(7):
        good_slide(tmp_path / "slides" / f"s{i}.tif", i)
    (tmp_path / "slides" / "s5.tif").write_bytes(b"nothing")
    night_model(tmp_path / "model")
    command = tmp_path / "bin" / "ats"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m ats_cli \"$@\"\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(command.parent), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(["ats", "predict", "slides", "-m", "model", "-o", "whole", "--quiet"], check=False)
    assert done.returncode == 1
    return tmp_path


SLURM_SCRIPT = EXAMPLES / "slurm" / "array.sh"


def test_the_slurm_script_is_sound() -> None:
    subprocess.run(["bash", "-n", str(SLURM_SCRIPT)], check=True)
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shellcheck = shutil.which("shellcheck", path=places)
    if shellcheck is None:
        pytest.skip("shellcheck is not here: pip install 'ats-cli[dev]'")
    subprocess.run([shellcheck, str(SLURM_SCRIPT)], check=True)


def array_task(**variables: int) -> subprocess.CompletedProcess[str]:
    """The script as SLURM runs it, with these of its variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "ATS_PARTS"))}
    environment |= {name: str(value) for name, value in variables.items()}
    call = ["bash", str(SLURM_SCRIPT), "slides", "model", "parts"]
    return subprocess.run(call, check=False, env=environment, capture_output=True, text=True)


def test_all_parts_of_the_slurm_array_are_the_whole(work: Path) -> None:
    for part in (2, 1):
        done = array_task(SLURM_ARRAY_TASK_ID=part, SLURM_ARRAY_TASK_COUNT=3, SLURM_ARRAY_TASK_MAX=3)
        assert done.returncode == 0, done.stderr
    # The third was lost, and is submitted alone.
    alone = {"SLURM_ARRAY_TASK_ID": 3, "SLURM_ARRAY_TASK_COUNT": 1, "SLURM_ARRAY_TASK_MAX": 3}
    assert array_task(**alone).returncode == 2
    assert array_task(**alone, ATS_PARTS=3).returncode == 0
    subprocess.run(["ats", "merge", "parts/1", "parts/2", "parts/3", "-o", "run"], check=True)
    assert rows(work / "run") == rows(work / "whole")


def test_an_array_that_does_not_count_from_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for task, count, most in ((0, 8, 7), (3, 2, 3)):
        done = array_task(SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT=count, SLURM_ARRAY_TASK_MAX=most)
        assert done.returncode == 2 and "The array is not 1-N" in done.stderr
    assert "--array=1-8" in array_task().stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_snakemake_example(work: Path) -> None:
    pytest.importorskip("snakemake", reason="Snakemake is not here: pip install 'ats-cli[dev]'")
    config = ["--config", "slides=slides", "model=model", "parts=3", "run=run"]
    call = [sys.executable, "-m", "snakemake", "-s", str(EXAMPLES / "snakemake" / "Snakefile"), "--cores", "2", *config]
    done = subprocess.run(call, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert rows(work / "run") == rows(work / "whole")
