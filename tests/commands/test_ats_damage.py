"""Slides of which not all can be read, on the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small import damage, noise, write_pyramid, write_slide

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound slide, and one of which a few native tiles are damaged."""
    (tmp_path / "slides").mkdir()
    write_pyramid(tmp_path / "slides" / "sound.tif", noise(256, 320))
    damage(write_pyramid(tmp_path / "slides" / "torn.tif", noise(256, 320)), 6, 7, 13)
    return tmp_path / "slides"


def test_a_torn_slide_fails_until_one_accepts_it(ats: Run, model: Path, folder: Path, tmp_path: Path) -> None:
    asked = ("predict", folder, "-m", model, "-n", "40", "-o", tmp_path / "run")
    status, out, err = ats(*asked)
    assert status == 1
    assert "1 of 2 slides failed" in err and "--max-unreadable" in err
    assert "unreadable" not in out.splitlines()[1]

    status, out, _ = ats(*asked, "--retry-failed", "--max-unreadable", "0.9")
    heading, _, sound, torn = (line.rstrip() for line in out.splitlines()[1:5])
    assert status == 0
    assert heading.endswith("unreadable") and sound.endswith(" -")

    with (tmp_path / "run" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["slide_id"]: row for row in csv.DictReader(file)}
    record = json.loads((tmp_path / "run" / "slides" / "torn" / "prediction.json").read_text())
    lost = record["tiles_unreadable"]
    assert lost > 0 and 0.05 < record["mass_unreadable"] < 0.9
    assert torn.endswith(f" {lost} of 40 ({record['mass_unreadable']:.1%})")
    assert (rows["sound"]["tiles_unreadable"], rows["torn"]["tiles_unreadable"]) == ("0", str(lost))

    with (tmp_path / "run" / "slides" / "torn" / "tiles.csv").open(newline="", encoding="utf-8") as file:
        tiles = list(csv.DictReader(file))
    gone = [tile for tile in tiles if tile["prob_light"] == ""]
    assert len(tiles) == 40 and len(gone) == lost
    assert all(tile["weight"] == "0.0" and tile["share_dark"] == "" for tile in gone)
    assert sum(float(tile["weight"]) for tile in tiles) == pytest.approx(1)


@pytest.mark.integration
def test_a_heatmap_of_a_torn_slide_is_drawn_and_it_is_said(ats: Run, model: Path, tmp_path: Path) -> None:
    torn = damage(write_slide(tmp_path / "torn.tif", noise(256, 320)), 6)
    status, _, err = ats("heatmap", torn, "-m", model, "-o", tmp_path / "torn.png")
    assert status == 0 and (tmp_path / "torn.png").is_file()
    assert "torn.tif: tile at x 64, y 64 of level 0 is damaged" in err and "white" in err
