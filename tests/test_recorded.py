"""Every command answers as it did when tests/data/recorded was written, and old run and model folders are still read.

Where processor and libraries are those of the record, floats are equal to the bit; elsewhere to rounding.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ats_cli.app import run
from tests.recorded_commands import COMMANDS, DIGITS, RECORD, environment, make_slides, run_all

pytestmark = pytest.mark.integration

# What differs from run to run, or says who ran it.
VOLATILE = {
    "seconds", "started", "ended", "process", "host", "versions", "ats", "arguments", "command", "files", "python",
    "platform", "system", "environment", "hash", "folder", "fingerprint", "time",
}  # fmt: skip
RECORDED = sorted(str(file.relative_to(RECORD)) for file in RECORD.rglob("*") if file.is_file())


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    run_all(folder)
    return folder


def stable(value: Any) -> Any:
    """JSON values without what differs from run to run; paths by their name."""
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [stable(item) for item in value]
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name
    return value


def parts(file: Path) -> Iterator[tuple[str, Any]]:
    """What a file says, piece by piece: (where, value)."""
    if file.suffix == ".json":
        yield from leaves("", stable(json.loads(file.read_text(encoding="utf-8"))))
    elif file.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
        yield from leaves("", [stable({k: number(v) for k, v in row.items()}) for row in rows])
    elif file.suffix == ".npz":
        with np.load(file) as arrays:
            yield from ((name, arrays[name]) for name in arrays.files)
    elif file.suffix == ".safetensors":
        yield from load_file(file).items()
    elif file.suffix == ".png":
        yield "pixels", np.asarray(Image.open(file).convert("RGB"))
    elif file.parent.name == "stdout":
        status, _, out = file.read_text(encoding="utf-8").partition("\n")
        yield "status", int(status)
        # Workers finish in any order.
        by_slide = sorted(line for line in out.splitlines() if line.startswith("{"))
        for index, line in enumerate([*by_slide, *(x for x in out.splitlines() if not x.startswith("{"))]):
            if line.startswith("{"):
                yield from leaves(f"line {index}", stable(json.loads(line)))
            else:  # seconds have two decimals in tables
                yield f"line {index}", re.sub(r"\s*\b\d+\.\d\d\b", "", line)
    elif file.suffix == ".toml":
        yield "text", file.read_text(encoding="utf-8")


def number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return stable(text)


def leaves(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(f"{where}/{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(f"{where}/{index}", item)
    else:
        yield where, value


def equal(value: Any, recorded: Any, exact: bool) -> bool:
    floats = isinstance(recorded, float) or (isinstance(recorded, np.ndarray) and recorded.dtype.kind == "f")
    if not exact and isinstance(recorded, np.ndarray) and recorded.dtype == np.uint8:
        return bool(np.shape(value) == recorded.shape)  # a picture: other versions of a library draw otherwise
    if exact or not floats:
        return bool(np.array_equal(value, recorded, equal_nan=floats))
    return bool(np.shape(value) == np.shape(recorded) and np.allclose(value, recorded, 1e-3, 1e-5, equal_nan=True))


@pytest.mark.parametrize("folder", sorted({"/".join(name.split("/")[:2]) for name in RECORDED if "/" in name}))
def test_outputs_are_as_recorded(folder: str, now: Path) -> None:
    exact = (RECORD / "environment.txt").read_text() == environment()
    for name in RECORDED:
        if not name.startswith(folder):
            continue
        found = dict(parts(now / name))
        for where, recorded in parts(RECORD / name):
            assert where in found, f"{name}: {where} is gone"
            assert equal(found[where], recorded, exact), f"{name}: {where} was {recorded}, is {found[where]}"


def test_an_old_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """All slides of the recorded run are done, though it has no fingerprints: nothing is predicted again."""
    make_slides(tmp_path)
    shutil.copytree(RECORD / "out" / "run", tmp_path / "out" / "run")
    record = tmp_path / "out" / "run" / "run.json"
    old = json.loads(record.read_text())
    moved = re.sub(r'"/[^"]*?/((?:[ab]/)?[\w]+\.(?:png|tif))"', rf'"{tmp_path}/\1"', json.dumps(old))
    record.write_text(moved)
    for file in (tmp_path / "out" / "run" / "slides").rglob("prediction.json"):
        prediction = json.loads(file.read_text())
        del prediction["fingerprint"]  # as earlier versions wrote it
        file.write_text(json.dumps(prediction))
    monkeypatch.chdir(tmp_path)
    arguments = ["predict", "digits.tif", "a", "b", "-m", DIGITS, "-o", "out/run", "--sampler", "murthy"]
    status = run([*arguments, "--tiles", "14", "--json"])
    out, err = capfd.readouterr()
    assert status == 0 and "17 of 17 slides are in out/run already" in err
    assert [json.loads(line)["tiles"] for line in out.splitlines()] == [14] * 17


def test_an_old_model_is_read(tmp_path: Path, capfd: Any) -> None:
    make_slides(tmp_path)
    for name in ("model", "labels", "numbers"):
        status = run(["predict", str(tmp_path / "a"), "-m", str(RECORD / "out" / name), "--json"])
        out, _ = capfd.readouterr()
        assert status == 0 and len(out.splitlines()) == 8


def test_every_command_is_recorded() -> None:
    assert {f"stdout/{name}.txt" for name in COMMANDS} <= set(RECORDED)
