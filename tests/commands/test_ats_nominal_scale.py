"""A scale that is only what an objective's power stands for is marked, and said once a run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """Slides of one that says its microns per pixel, and of three that say their objective's power only."""
    folder = tmp_path / "scanned" / "light"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for name, says in {"exact": "MPP = 0.52", "a": "AppMag = 20", "b": "AppMag = 20", "c": "AppMag = 40"}.items():
        text = f"Aperio Image Library v11\r\n256x256 (256x256) RGB|Title = {name}|{says}"
        tifffile.imwrite(folder / f"{name}.svs", pixels, tile=(128, 128), photometric="rgb", description=text)
    return folder


SAID = "3 slides have no microns per pixel; taken from the objective's power: 40x = 0.25, 20x = 0.5."


def test_the_table_marks_it_and_a_message_says_it_once(
    ats: Run, micron_model: Path, model: Path, scanned: Path, tmp_path: Path
) -> None:
    status, out, err = ats("predict", scanned, "-m", micron_model, "-o", tmp_path / "run", "--processes", 0)
    assert status == 0 and err.count(SAID) == 1
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert rows["a"].rstrip().endswith("0.5 (nominal)") and rows["c"].rstrip().endswith("0.25 (nominal)")
    assert rows["exact"].rstrip().endswith("0.52")
    with (tmp_path / "run" / "predictions.csv").open(newline="") as stream:
        sources = {row["slide_id"]: row["mpp_source"] for row in csv.DictReader(stream)}
    assert {name for name, source in sources.items() if source == "objective power"} == {"a", "b", "c"}

    _, out, err = ats("predict", scanned, "-m", micron_model, "--mpp", 0.5, "--processes", 0)
    assert "nominal" not in out and "objective" not in err
    _, _, err = ats("predict", scanned, "-m", model, "--processes", 0)
    assert "objective" not in err  # a model in pixels does not rely on it
    _, _, err = ats("heatmap", scanned, "-m", micron_model, "-o", tmp_path / "maps")
    assert err.count(SAID) == 1
    _, _, err = ats("evaluate", scanned.parent, "-m", micron_model, "--tiles", "2,4", "--processes", 0)
    assert err.count(SAID) == 1
    _, out, _ = ats("info", scanned / "a.svs")
    assert "0.5000 µm per pixel (nominal, from objective power)" in out
