"""`ats evaluate`: labelled slides in, figures out."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import sklearn.metrics as sk
from PIL import Image

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
PLOTS = ("roc", "pr", "calibration", "accuracy_tiles")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Ten slides in two classes, two a patient."""
    rng = np.random.default_rng(0)
    rows = ["slide,label,group"]
    for i in range(10):
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(tmp_path / f"s{i}.png")
        rows.append(f"s{i}.png,{('light', 'dark')[i % 2]},patient{i // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "labels.csv"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_figures_agree_with_the_table_by_scikit_learn(ats: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ("evaluate", "--manifest", labelled, "-m", model, "-o", out, "--sampler", "murthy", "--tiles", "9,2")
    status, said, err = ats(*call)
    assert status == 0, err
    assert "balanced accuracy" in said and "2 tiles" in said and "label \\ predicted" in said
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["slides"], metrics["groups"], metrics["failed"]) == (10, 5, [])
    assert [budget["tiles"] for budget in metrics["budgets"]] == [2, 9]
    for budget in metrics["budgets"]:
        rows = table(out / f"predictions_{budget['tiles']}.csv")
        labels, predicted = [r["label"] for r in rows], [r["predicted"] for r in rows]
        dark = [float(r["prob_dark"]) for r in rows]
        figures = {name: figure["value"] for name, figure in budget["figures"].items()}
        assert figures["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
        assert figures["auroc"] == pytest.approx(sk.roc_auc_score([label == "dark" for label in labels], dark))
        assert figures["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
        assert budget["confusion_matrix"] == sk.confusion_matrix(labels, predicted, labels=["light", "dark"]).tolist()
        assert budget["cost"]["tiles"] == budget["tiles"]
        assert {r["tiles"] for r in rows} == {str(budget["tiles"])}
    assert (out / "predictions.csv").read_bytes() == (out / "predictions_9.csv").read_bytes()
    for name in PLOTS:
        with Image.open(out / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5
        assert ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg")

    status, _, err = ats(*call)
    assert status == 2 and "not empty" in err
    assert ats(*call, "--overwrite", "--quiet")[0] == 0


def test_the_table_is_that_of_predict(ats: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    assert ats("evaluate", "--manifest", labelled, "-m", model, "-o", tmp_path / "out", "--seed", 4)[0] == 0
    slides = tmp_path / "slides.csv"
    slides.write_text("slide\n" + "".join(f"s{i}.png\n" for i in range(10)))
    assert ats("predict", "--manifest", slides, "-m", model, "-o", tmp_path / "run", "--seed", 4)[0] == 0
    ours, theirs = table(tmp_path / "out/predictions.csv"), table(tmp_path / "run/predictions.csv")
    assert list(ours[0]) == [*theirs[0], "label", "group"]
    for mine, his in zip(ours, theirs, strict=True):
        assert {k: v for k, v in his.items() if k != "seconds"}.items() <= mine.items()
    assert not (tmp_path / "out/accuracy_tiles.png").exists()
    assert not (tmp_path / "out/predictions_4.csv").exists()


def test_a_slide_that_fails_is_said_and_left_out(ats: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "s3.png").write_bytes(b"no picture")
    status, out, err = ats("evaluate", "--manifest", labelled, "-m", model, "--tiles", "2,3", "--json", "--quiet")
    assert status == 1
    assert err.count("s3.png") == 1 and "1 of 10 slides failed" in err
    said = json.loads(out)
    assert said["failed"] == ["s3"]
    assert [sum(map(sum, budget["confusion_matrix"])) for budget in said["budgets"]] == [9, 9]


def test_all_slides_fail(ats: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    for slide in tmp_path.glob("*.png"):
        slide.write_bytes(f"no picture {slide.name}".encode())
    status, out, err = ats("evaluate", "--manifest", labelled, "-m", model, "-o", tmp_path / "out", "--quiet")
    assert (status, out) == (1, "")
    assert "10 of 10 slides failed" in err
    assert not (tmp_path / "out").exists()
    call = ("evaluate", "--manifest", labelled, "-m", model, "--quiet", "--group-by", "slide", "--json")
    status, out, err = ats(*call, "-n", "2,3")
    assert (status, out) == (1, "")
    assert "10 of 10 slides failed" in err and "Error" not in err


@pytest.mark.parametrize("tiles", ["0", "5,", "5;6", "many", "-3"])
def test_budgets_that_are_none(ats: Run, model: Path, labelled: Path, tiles: str) -> None:
    status, out, err = ats("evaluate", "--manifest", labelled, "-m", model, f"--tiles={tiles}", "--quiet")
    assert (status, out) == (2, "")
    assert f"--tiles {tiles}: not a list of budgets" in err


def test_calls_that_make_no_sense(ats: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    for arguments, said in {
        (): "give either a folder with one subfolder a class, or --manifest",
        (tmp_path, "--manifest", labelled): "give either a folder",
        (tmp_path,): "no subfolders",
        (labelled,): "not a folder",
        ("--manifest", labelled, "--exhaustive", "--tiles", "5,6"): "--exhaustive reads every position",
        ("--manifest", labelled, "--adaptive", "--sampler", "pivotal"): "--adaptive draws in race order",
    }.items():
        status, out, err = ats("evaluate", *arguments, "-m", model, "--quiet")
        assert (status, out) == (2, ""), arguments
        assert said in err


def test_an_earlier_evaluation_is_replaced_whole(ats: Run, model: Path, labelled: Path, tmp_path: Path) -> None:
    call = ("evaluate", "--manifest", labelled, "-m", model, "-o", tmp_path / "out", "--quiet")
    assert ats(*call, "--tiles", "2,3")[0] == 0
    (tmp_path / "out/notes.txt").write_text("mine")
    assert ats(*call, "--tiles", "4", "--overwrite")[0] == 0
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"notes.txt", "metrics.json", "predictions.csv", "roc.svg"} <= left
    assert not {"predictions_2.csv", "predictions_3.csv", "accuracy_tiles.png"} & left


def test_interrupted_it_says_so_and_writes_nothing(
    ats: Run, model: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ats_cli.results.evaluation.report.Evaluation.add", interrupted)
    status, out, err = ats("evaluate", "--manifest", labelled, "-m", model, "-o", tmp_path / "out", "--quiet")
    assert (status, out) == (130, "")
    assert "interrupted" in err and not (tmp_path / "out").exists()


def test_where_it_cannot_write_it_says_so_before_it_reads(
    ats: Run, model: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ats_cli.inference.runs.evaluation_run.at_budgets", lambda *_: pytest.fail("it read"))
    (tmp_path / "file").write_text("")
    status, _, err = ats("evaluate", "--manifest", labelled, "-m", model, "-o", tmp_path / "file", "--overwrite")
    assert status == 2 and "exists and is not empty" in err

    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("ats_cli.results.evaluation.report.tempfile.TemporaryFile", refused)
    status, _, err = ats("evaluate", "--manifest", labelled, "-m", model, "-o", tmp_path / "new")
    assert status == 1 and "Permission denied" in err
