"""A column is one field of a prediction or of a part of it: it is in --json and predictions.csv, and is read back."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ats_cli

Ats = Callable[..., str]

FIELDS = {
    "prediction_parts.py": (
        "class Cost:",
        '    joules: float | None = field(default=0.5, metadata=csv(145))\n    place: str | None = "here"\n',
    ),
    "records.py": (
        "class Prediction:",
        "    spread: tuple[float, ...] | None = field(default=(1.0, 2.0), metadata=csv(65, 'spread'))\n",
    ),
}


@pytest.fixture
def ats(tmp_path: Path) -> Ats:
    """Run `ats ARGUMENTS` of a copy of the package in which three fields are added; returns stdout."""
    package = tmp_path / "source" / "ats_cli"
    shutil.copytree(Path(ats_cli.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (start, lines) in FIELDS.items():
        before, _, after = (package / name).read_text(encoding="utf-8").partition(start)
        own, end, rest = after.partition("\n\n\n@dataclass")
        (package / name).write_text(f"{before}{start}{own.rstrip()}\n{lines.rstrip()}\n{end}{rest}", encoding="utf-8")

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ats_cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(package.parent)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    return run


def first_row(run: Path) -> dict[str, str]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return next(csv.DictReader(file))


@pytest.mark.integration
def test_a_new_column_is_one_new_field(ats: Ats, model: Path, slides: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    out = ats("predict", slides / "one.png", "-m", model, "-o", run, "--processes", 0, "--device", "cpu", "--json")
    record = json.loads(out)
    assert (record["joules"], record["place"], record["spread"]) == (0.5, "here", {"light": 1.0, "dark": 2.0})
    row = first_row(run)
    assert (row["joules"], row["spread_light"], row["spread_dark"]) == ("0.5", "1.0", "2.0")
    assert "place" not in row, "it has no place in the table"
    headings = list(row)
    assert headings.index("joules") == headings.index("seconds") + 1

    file = run / "slides" / "one" / "prediction.json"
    file.write_text(json.dumps(record | {"joules": 0.25, "spread": {"light": 3.0, "dark": 4.0}}))
    ats("merge", run, "-o", whole)
    row = first_row(whole)
    assert (row["joules"], row["spread_light"], row["spread_dark"]) == ("0.25", "3.0", "4.0"), "as it was written"
