"""`--group-by`: one row a patient, on the way, afterwards, and from parts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ats_cli.slides import Slide

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six slides of three patients, one of them no slide; beside it the same by block."""
    rng = np.random.default_rng(0)
    rows = ["slide,patient,label"]
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (90 + 20 * i, 120, 3), dtype=np.uint8)).save(tmp_path / f"s{i}.png")
        rows.append(f"s{i}.png,P{i % 3},{('light', 'dark')[i % 3 == 1]}")
    (tmp_path / "blocks.csv").write_text("slide,Block of\n" + "".join(f"s{i}.png,B{i % 2}\n" for i in range(6)))
    (tmp_path / "s4.png").write_bytes(b"no picture")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "table.csv"


def table(run: Path, name: str = "predictions_by_group.csv") -> list[dict[str, str]]:
    with (run / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.integration
def test_one_row_a_patient(ats: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    call = ("predict", "--manifest", manifest, "-m", model, "--group-by", "patient")
    status, out, err = ats(*call, "-o", tmp_path / "run")
    assert status == 1
    assert "1 of 3 groups lack slides that failed: P1 (1 of 2)." in err
    shown = out[out.index(" patient ") :].splitlines()
    assert "2 of 2" in shown[2] and "1 of 2" in shown[3]
    slides = {row["slide_id"]: row for row in table(tmp_path / "run", "predictions.csv")}
    first, second, third = table(tmp_path / "run")
    assert [row["group"] for row in (first, second, third)] == ["P0", "P1", "P2"]
    assert (second["slides"], second["slides_failed"], second["failed"]) == ("1", "1", "s4")
    for column in ("prob_dark", "se_dark"):
        assert float(second[column]) == pytest.approx(float(slides["s1"][column])), "its one good slide"
    own = [np.log(float(slides[s]["prob_dark"]) / float(slides[s]["prob_light"])) for s in ("s0", "s3")]
    assert float(first["prob_dark"]) == pytest.approx(1 / (1 + np.exp(-np.mean(own))))

    status, out, _ = ats(*call, "--json", "--quiet")
    *of_slides, p0, p1, p2 = lines(out)
    assert [record["slide_id"] for record in of_slides] == [f"s{i}" for i in range(6)]
    assert all("group" not in record for record in of_slides)
    assert [record["group"] for record in (p0, p1, p2)] == ["P0", "P1", "P2"]
    assert str(p0["probabilities"]["dark"]) == first["prob_dark"]
    assert (p1["slides"], p1["slides_failed"]) == (["s1"], ["s4"])


@pytest.mark.integration
def test_a_finished_run_is_grouped_without_reading(
    ats: Run, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    call = ("predict", "--manifest", manifest, "-m", model, "-o", run)
    ats(*call)
    assert not (run / "predictions_by_group.csv").exists()
    before = (run / "predictions.csv").read_bytes()
    monkeypatch.setattr(Slide, "read_view", None)
    monkeypatch.setattr("ats_cli.inference.executors.predict_task.open_with", None)
    assert ats(*call, "--group-by", "patient")[0] == 1
    assert [row["group"] for row in table(run)] == ["P0", "P1", "P2"]
    equal = table(run)[0]
    assert ats(*call, "--group-by", "patient", "--group-weights", "tissue")[0] == 1
    assert table(run)[0]["prob_dark"] != equal["prob_dark"]
    by_block = ("predict", "--manifest", tmp_path / "blocks.csv", *call[3:], "--group-by", "Block of")
    assert ats(*by_block)[0] == 1
    assert [row["group"] for row in table(run)] == ["B0", "B1"]
    assert ats(*call)[0] == 1
    assert [row["group"] for row in table(run)] == ["B0", "B1"], "not asked again, it stays"
    assert (run / "predictions.csv").read_bytes() == before
    ats(*call, "--overwrite", "--quiet")
    assert not (run / "predictions_by_group.csv").exists()


@pytest.mark.integration
def test_a_run_that_goes_on_has_its_groups_in_the_end(
    ats: Run, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ats_cli.inference.executors.predict_task import predict_slide

    def killed(slide: Any, *arguments: Any, **options: Any) -> Any:
        if slide.path.name == "s3.png":
            raise KeyboardInterrupt
        return predict_slide(slide, *arguments, **options)

    call = ("predict", "--manifest", manifest, "-m", model, "--group-by", "patient", "-o")
    ats(*call, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr("ats_cli.inference.executors.predict_task.predict_slide", killed)
        status, out, _ = ats(*call, tmp_path / "run")
    assert status == 130
    assert table(tmp_path / "run") == [], "no patient has all slides yet"
    assert "s0" in out and "patient" not in out
    assert ats(*call, tmp_path / "run")[0] == 1
    assert table(tmp_path / "run") == table(tmp_path / "whole")


@pytest.mark.integration
def test_parts_are_grouped_when_they_are_joined(ats: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    call = ("predict", "--manifest", manifest, "-m", model, "--group-by", "patient")
    ats(*call, "-o", tmp_path / "whole")
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, start=1):
        status, out, err = ats(*call, "-o", part, "--shard", f"{i}/2")
        assert "`ats merge` writes one row a group" in err and "patient" not in out
        assert not (part / "predictions_by_group.csv").exists(), "half of a patient is none"
    assert ats("merge", *parts, "-o", tmp_path / "merged")[0] == 0
    assert table(tmp_path / "merged") == table(tmp_path / "whole")
    ats(*call, "-o", parts[1], "--shard", "2/2", "--group-weights", "tissue")
    status, _, err = ats("merge", *parts, "-o", tmp_path / "other")
    assert status == 2 and "is grouped by patient (tissue weights)" in err


def test_calls_that_make_no_sense(ats: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    for options, said in {
        (tmp_path / "s0.png", "--group-by", "patient"): "--group-by names a column of a manifest",
        ("--manifest", manifest, "--group-by", "case"): "no column 'case' to group by. Its columns are slide, patient",
    }.items():
        status, out, err = ats("predict", *options, "-m", model, "--quiet")
        assert (status, out) == (2, "") and said in err


def test_a_slide_without_a_patient_is_a_group_of_its_own(ats: Run, model: Path, manifest: Path) -> None:
    call = ("predict", "--manifest", manifest, "-m", model, "--group-by", "patient", "--json")
    manifest.write_text("slide,patient\ns0.png,P0\ns1.png,NA\ns2.png,\ns3.png,P0\n")
    status, out, err = ats(*call)
    assert status == 0 and [record["group"] for record in lines(out) if "group" in record] == ["P0", "s1", "s2"]
    assert "table.csv: taken as missing: 2 of group ('NA' in row 3)." in err
    assert "2 of 4 slides have no patient (the first: row 3). Each is a group of its own." in err
    _, out, _ = ats(*call, "--na", "none")
    assert [record["group"] for record in lines(out) if "group" in record] == ["P0", "NA", "s2"]
    manifest.write_text("slide,patient\ns0.png,s1\ns1.png,\n")
    status, _, err = ats(*call)
    assert status == 2 and "row 3 has no patient, and its slide has the name of the group s1. Fill in" in err


@pytest.mark.integration
def test_figures_of_patients(ats: Run, model: Path, manifest: Path, tmp_path: Path) -> None:
    call = ("evaluate", "--manifest", manifest, "-m", model, "--group-by", "patient")
    status, out, _ = ats(*call, "--tiles", "3,5", "--sampler", "murthy", "-o", tmp_path / "out")
    assert status == 1 and "by patient" in out
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    groups = table(tmp_path / "out")
    labels = {"P0": "light", "P1": "dark", "P2": "light"}
    right = np.mean([row["predicted"] == labels[row["group"]] for row in groups])
    at = metrics["budgets"][-1]
    assert at["by_group"]["figures"]["accuracy"]["value"] == pytest.approx(right)
    assert [sum(map(sum, x["confusion_matrix"])) for x in (at, at["by_group"])] == [5, 3]
    assert table(tmp_path / "out", "predictions_by_group_5.csv") == groups
    manifest.write_text(manifest.read_text().replace("s0.png,P0,light", "s0.png,P0,dark"))
    status, _, err = ats(*call, "--quiet")
    assert status == 2 and "row 5: P0 is light here and dark before. With --group-by a group has one label" in err
