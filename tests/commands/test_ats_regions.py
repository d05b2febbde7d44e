"""`--roi` of every command: which file is whose, which class counts, and what a run holds on to."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ats_cli.errors import AtsError
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.executors.predict_task import predict_task
from ats_cli.inference.executors.slide_task import slide_tasks
from ats_cli.slides import OpenOptions, SlideSource
from ats_cli.slides.regions.region_files import region_file, regions_of_slides
from tests.small import noise, write_slide

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
FOUR = [(4.0, 4.0), (44.0, 4.0), (4.0, 44.0), (44.0, 44.0)]


def feature(x: float, y: float, class_name: object = None) -> dict[str, Any]:
    """A square of 32 pixels a side as QuPath writes it."""
    ring = [[x, y], [x + 32, y], [x + 32, y + 32], [x, y + 32], [x, y]]
    properties = {"objectType": "annotation", "classification": class_name}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def write(path: Path, *features: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        write_slide(tmp_path / "slides" / f"{name}.tif", noise(100, 120, number))
    return tmp_path / "slides"


def corners(run: Path, slide_id: str) -> set[tuple[float, float]]:
    """The squares of FOUR, by their corners, that the tiles of a slide have their centres in."""
    with (run / "slides" / slide_id / "tiles.csv").open(newline="", encoding="utf-8") as file:
        rows = [[float(row[key]) for key in ("minx", "miny", "width", "height")] for row in csv.DictReader(file)]
    centres = np.array([(x + width / 2, y + height / 2) for x, y, width, height in rows])
    of = {(x, y): ((centres >= (x, y)) & (centres <= (x + 32, y + 32))).all(1) for x, y in FOUR}
    assert np.any(list(of.values()), axis=0).all(), "a tile lies in none"
    return {corner for corner, inside in of.items() if inside.any()}


def test_a_folder_has_a_file_for_each_slide(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """By the slide's id or its file's name. A slide without one fails, as does one that its regions miss."""
    write(tmp_path / "regions" / "a.geojson", feature(*FOUR[0]))
    write(tmp_path / "regions" / "b.tif.json", feature(*FOUR[3]))
    call = ("predict", slides, "-m", model, "--roi", tmp_path / "regions", "--exhaustive")
    status, _, err = ats(*call, "-o", tmp_path / "run", "--processes", 0)
    assert status == 1 and "c.tif: c.geojson: no such file of regions in" in err, err
    assert (corners(tmp_path / "run", "a"), corners(tmp_path / "run", "b")) == ({FOUR[0]}, {FOUR[3]})
    write(tmp_path / "regions" / "c.geojson", feature(500, 500))
    status, out, err = ats(*call, "--json", "--processes", 1)
    assert status == 1 and "c.tif: the regions of c.geojson lie at x 500 to 532" in err
    found = {record["slide_id"]: record for record in map(json.loads, out.splitlines())}
    assert found["a"]["regions"] == {"file": "a.geojson", "origin": None, "certain": True, "outside": 0}
    assert (found["a"]["positions"], found["c"]["failure"]) == (64, "regions")


def test_regions_of_one_class(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """As QuPath names it, whichever of its ways of writing it."""
    file = write(
        tmp_path / "r.geojson",
        feature(*FOUR[0], {"name": "Tumor", "color": [200, 0, 0]}),
        feature(*FOUR[1], {"names": ["Tumor", "Positive"], "color": [200, 0, 0]}),
        feature(*FOUR[2], "Stroma"),
        feature(*FOUR[3]),
    )
    call = (
        "predict",
        slides / "a.tif",
        "-m",
        model,
        "--roi",
        file,
        "--exhaustive",
        "--overwrite",
        "-o",
        tmp_path / "r",
    )
    for names, expected in (
        (["Tumor"], FOUR[:1]),
        (["Tumor: Positive"], FOUR[1:2]),
        (["Stroma", "Tumor"], [FOUR[0], FOUR[2]]),
        ([], FOUR),
    ):
        status, _, err = ats(*call, *(word for name in names for word in ("--roi-class", name)))
        assert (status, corners(tmp_path / "r", "a")) == (0, set(expected)), err
    status, _, err = ats(*call, "--roi-class", "tumour")
    assert status == 2 and "no region of class tumour. Its classes are Stroma, Tumor, Tumor: Positive." in err
    assert 'Did you mean "Tumor"?' in err
    status, _, err = ats("predict", slides, "-m", model, "--roi-class", "Tumor")
    assert status == 2 and "--roi-class is about regions, and no slide has any. Give --roi" in err


def test_a_run_keeps_to_its_regions(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """Gone on with, extended and merged, it is compared by the content of the files."""
    roi, other = write(tmp_path / "r.geojson", feature(*FOUR[0])), write(tmp_path / "s.geojson", feature(*FOUR[1]))
    run, call = tmp_path / "run", ("predict", slides, "-m", model, "--sampler", "murthy", "--processes", 0, "-o")
    assert ats(*call, run, "-n", 6, "--roi", roi)[0] == 0
    copy = tmp_path / "copy.geojson"
    copy.write_bytes(roi.read_bytes())
    assert ats(*call, run, "-n", 6, "--roi", copy)[0] == 0
    for wrong in (["--roi", other], []):
        status, _, err = ats(*call, run, "-n", 6, *wrong)
        assert status == 2 and "this run was made with roi " in err, err
    status, _, err = ats(*call, run, "-n", 6, "--roi", roi, "--roi-origin", "level0")
    assert status == 2 and "roi_origin none, not level0" in err
    status, _, err = ats("predict", "-o", run, "--extend", "-n", 20, "--processes", 0)
    assert (status, corners(run, "a")) == (0, {FOUR[0]}), err
    roi.write_bytes(other.read_bytes())
    status, _, err = ats("predict", "-o", run, "--extend", "-n", 30, "--processes", 0)
    assert status == 1 and "a.tif: r.geojson: these regions are not those that the run was begun with" in err


def test_a_slides_own_regions_are_compared_too(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """Of a folder and of a manifest, where each slide has a file."""
    regions = tmp_path / "regions"
    for name, corner in zip("abc", FOUR, strict=False):
        write(regions / f"{name}.geojson", feature(*corner))
    call = ("predict", slides, "-m", model, "-n", 4, "--processes", 0, "--roi", regions, "-o", tmp_path / "run")
    assert ats(*call)[0] == 0
    write(regions / "b.geojson", feature(*FOUR[3]))
    status, _, err = ats(*call)
    assert status == 2 and "slide b was read with the regions b.geojson (" in err


@pytest.mark.parametrize("options", [[], ["--roi-origin", "bounds"], ["--roi-class", "Tumor"]])
def test_parts_with_other_regions_are_not_merged(
    ats: Run, model: Path, slides: Path, tmp_path: Path, options: list[str]
) -> None:
    roi = write(tmp_path / "r.geojson", feature(*FOUR[0], "Tumor"))
    for part, own in (("1/2", ["--roi", roi]), ("2/2", ["--roi", roi, *options] if options else [])):
        out = tmp_path / part[0]
        assert ats("predict", slides / "a.tif", slides / "b.tif", "-m", model, "--shard", part, "-o", out, *own)[0] == 0
    status, _, err = ats("merge", tmp_path / "1", tmp_path / "2", "-o", tmp_path / "all")
    assert status == 2 and f"which has {options[0][2:].replace('-', '_') if options else 'roi'} " in err


def test_evaluate_and_heatmap_take_the_same_regions(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """A manifest's column wins over --roi; an empty cell leaves the slide to --roi."""
    write(slides / "a.geojson", feature(*FOUR[2]))
    roi = write(tmp_path / "r.geojson", feature(*FOUR[0]))
    (slides / "t.csv").write_text("slide,label,roi\na.tif,light,a.geojson\nb.tif,dark,\nc.tif,light,\n")
    call = ("evaluate", "--manifest", slides / "t.csv", "-m", model, "--exhaustive", "--processes", 0)
    status, _, err = ats(*call, "--roi", roi, "--json", "-o", tmp_path / "figures")
    assert status == 0, err
    with (tmp_path / "figures" / "predictions.csv").open(newline="") as file:
        assert [row["positions"] for row in csv.DictReader(file)] == ["64"] * 3
    status, _, err = ats("predict", "--manifest", slides / "t.csv", "-m", model, "--exhaustive", "-o", tmp_path / "run")
    assert status == 0 and corners(tmp_path / "run", "a") == {FOUR[2]}, err
    status, _, err = ats("heatmap", slides / "a.tif", "-m", model, "--roi", roi, "-o", tmp_path / "a.png")
    assert status == 0 and (tmp_path / "a.png").is_file(), err
    far = write(tmp_path / "far.geojson", feature(500, 500))
    status, _, err = ats("heatmap", slides / "a.tif", "-m", model, "--roi", far, "-o", tmp_path / "b.png")
    assert status == 1 and "outside of its 120 x 100 pixels" in err


def test_a_worker_needs_no_file_of_regions(model: Path, slides: Path, tmp_path: Path) -> None:
    """They travel with the task, as it does to a process or a cluster."""
    from ats_cli import load_model

    roi = write(tmp_path / "r.geojson", feature(*FOUR[1]))
    source = SlideSource("a", slides / "a.tif", roi=region_file(roi))
    (task,) = slide_tasks([source], OpenOptions(), DrawOptions(exhaustive=True))
    sent = pickle.dumps(task)
    roi.unlink()
    prediction = predict_task(pickle.loads(sent), load_model(model))
    assert (prediction.status, prediction.sampling.positions) == ("ok", 64)
    (task,) = slide_tasks([source], OpenOptions(), DrawOptions(exhaustive=True))
    prediction = predict_task(pickle.loads(pickle.dumps(task)), load_model(model))
    assert prediction.status == "failed" and str(prediction.error).startswith("a.tif: r.geojson: no such file")


def test_a_file_is_that_of_one_slide(tmp_path: Path) -> None:
    """Where stems collide, a file called like the stem would be that of both."""
    folder, slides = tmp_path / "regions", [("x/s", Path("x/s.tif")), ("y/s", Path("y/s.tif")), ("t", Path("t.svs"))]
    write(folder / "s.geojson", feature(*FOUR[0]))
    with pytest.raises(AtsError, match=r"s\.geojson: is called like x/s and like y/s\. Name it by the whole id"):
        regions_of_slides(slides, folder)
    (folder / "x").mkdir()
    (folder / "s.geojson").rename(folder / "x" / "s.geojson")
    (folder / "t.geojson.gz").write_bytes(gzip.compress((folder / "x" / "s.geojson").read_bytes()))
    assert regions_of_slides(slides, folder) == [folder / "x" / "s.geojson", None, folder / "t.geojson.gz"]


def test_regions_that_lie_off_the_slide_are_said_by_predict_and_train(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    """One of three squares is where this slide has no pixels: the others count, and a message names it once."""
    regions = write(tmp_path / "r" / "r.geojson", feature(*FOUR[0]), feature(*FOUR[3]), feature(500, 500))
    status, out, err = ats("predict", slides / "a.tif", "-m", model, "--roi", regions, "--json", "-o", tmp_path / "run")
    assert status == 0 and json.loads(out)["regions"]["outside"] == 1
    assert " ".join(err.replace("\nats:", " ").split()).count("1 of its regions lies off the slide") == 1
    assert corners(tmp_path / "run", "a") <= {FOUR[0], FOUR[3]}
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            write_slide(tmp_path / "data" / name / f"{name}{number}.tif", noise(100, 120, ord(name) + 10 * number))
    training = ["--recipe", "digits-small", "--steps", 2, "--batch-size", 2, "--val", 0, "--threads", 1]
    _, _, err = ats("train", tmp_path / "data", *training, "--roi", regions, "-o", tmp_path / "m")
    assert "6 slides, like a" in err and "off the slide" in " ".join(err.replace("\nats:", " ").split())
