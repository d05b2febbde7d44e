"""`ats heatmap`: pictures where they were asked for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from tests.small import small_spec, write_model

Run = Callable[..., tuple[int, str, str]]


def test_one_slide_to_one_picture(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "one.png"
    status, out, _ = ats("heatmap", slides / "one.png", "-o", picture, "-m", model, "--max-size", 200)
    assert status == 0
    assert out == f"{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.integration
def test_a_folder_gets_a_picture_a_slide(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    arguments = ("heatmap", slides, "-o", folder, "-m", model, "--max-size", 100, "--scale", "log", "--no-overlay")
    status, _, err = ats(*arguments)
    assert status == 1
    assert "ats: broken.svs: " in err
    assert sorted(p.name for p in folder.iterdir()) == ["one.png", "two [x].png"]


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "OUT/all.png"],
        ["-o", "OUT/a.jpg"],
        ["-o", "OUT/maps", "--colormap", "virdis"],
        ["-o", "OUT", "--alpha", "2"],
    ],
)
def test_wrong_calls(ats: Run, model: Path, slides: Path, tmp_path: Path, options: list[str]) -> None:
    words = [word.replace("OUT", str(tmp_path / "out")) for word in options]
    status, out, err = ats("heatmap", slides, "-m", model, *words)
    assert (status, out) == (2, "")
    assert err
    assert not (tmp_path / "out").exists()


@pytest.mark.integration
def test_slides_of_the_same_name_get_pictures_of_their_own(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (slides / folder).mkdir()
        (slides / folder / "same.png").write_bytes((slides / "one.png").read_bytes())
    ats("heatmap", slides / "a", slides / "b", "-o", tmp_path / "maps", "-m", model, "--max-size", 100)
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["a_same.png", "b_same.png"]


@pytest.mark.integration
def test_maps_of_a_run_are_those_of_its_slides_and_read_no_tile(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (slides / "broken.svs").unlink()
    assert ats("predict", slides, "-m", model, "-n", 6, "-o", run)[0] == 0
    for what in ("attention", "evidence"):
        options = ["--what", what, "--max-size", 200]
        status, out, _ = ats("heatmap", run, "-o", tmp_path / f"run-{what}", *options)
        assert (status, len(out.splitlines())) == (0, 2)
        ats("heatmap", slides, "-m", model, "-n", 6, "-o", tmp_path / f"slides-{what}", *options)
        for picture in (tmp_path / f"run-{what}").iterdir():
            again = np.asarray(Image.open(tmp_path / f"slides-{what}" / picture.name))
            assert np.array_equal(np.asarray(Image.open(picture)), again)
    status, _, err = ats("heatmap", run, "-n", 9, "-o", tmp_path / "maps")
    assert status == 2 and "--tiles" in err and not (tmp_path / "maps").exists()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["ome-tiff", "ome-zarr"])
def test_the_evidence_of_a_map_sums_to_the_logit(
    ats: Run, model: Path, slides: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    ats("predict", slides / "one.png", "-m", model, "-n", 6, "-o", run)
    record = json.loads((run / "slides" / "one" / "prediction.json").read_text())
    bias = np.load(run / "slides" / "one" / "draw.npz")["bias"]
    for index, label in enumerate(record["classes"]):
        folder = tmp_path / label
        status, out, _ = ats("heatmap", run, "-o", folder, "--what", f"evidence:{label}", "--format", name)
        assert status == 0
        path = out.strip()
        values = tifffile.imread(path) if name == "ome-tiff" else zarr.open_group(path, mode="r")["0"][:]
        assert np.count_nonzero(values) <= 6
        assert values.sum() + bias[index] == pytest.approx(record["logits"][label], abs=1e-5)


def test_a_class_that_is_not_there_is_answered_with_those_that_are(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    status, _, err = ats("heatmap", slides, "-m", model, "-o", tmp_path / "maps", "--what", "evidence:none of them")
    assert status == 2 and "no such class" in err and not (tmp_path / "maps").exists()
    status, _, err = ats("heatmap", slides, "-m", model, "-o", tmp_path / "maps", "--what", "feelings")
    assert status == 2 and "feelings" in err


def test_no_slide_and_no_folder_of_the_user_is_replaced(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in slides.iterdir()}
    for output in (slides / "one.png", slides):
        status, out, err = ats("heatmap", slides / "one.png", "-m", model, "-o", output)
        assert status == 2 and "one itself" in err and not out
    (slides / "link").symlink_to(slides)
    assert ats("heatmap", slides / "one.png", "-m", model, "-o", slides / "link" / "one.png")[0] == 2
    (slides / "link").unlink()
    assert {file.name: file.read_bytes() for file in slides.iterdir()} == before
    mine = tmp_path / "mine.ome.zarr"
    mine.mkdir()
    call = ["heatmap", slides / "one.png", "-m", model, "--format", "ome-zarr", "-o", mine]
    assert ats(*call)[0] == 0, "an empty folder is replaced"
    assert ats(*call)[0] == 0, "a map is replaced"
    (tmp_path / "notes.ome.zarr").mkdir()
    (tmp_path / "notes.ome.zarr" / "notes.txt").write_text("dear diary")
    status, _, err = ats(*call[:-1], tmp_path / "notes.ome.zarr")
    assert status == 2 and "did not write" in err and (tmp_path / "notes.ome.zarr" / "notes.txt").is_file()


@pytest.mark.integration
def test_a_run_whose_model_or_slide_is_another_now_has_no_map(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    copy, run = tmp_path / "model", tmp_path / "run"
    shutil.copytree(model, copy)
    (slides / "broken.svs").unlink()
    assert ats("predict", slides, "-m", copy, "-n", 4, "-o", run)[0] == 0
    two = slides / "two [x].png"
    (slides / "one.png").write_bytes(two.read_bytes())
    status, out, err = ats("heatmap", run, "-o", tmp_path / "maps")
    assert status == 1 and "one.png: the file has changed" in err and len(out.splitlines()) == 1
    write_model(copy, seed=5)
    status, _, err = ats("heatmap", run, "-o", tmp_path / "maps")
    assert status == 2 and "another model" in err


@pytest.mark.integration
def test_slides_of_a_run_without_a_prediction_are_counted(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert ats("predict", slides, "-m", model, "-n", 4, "-o", run)[0] == 1
    status, out, err = ats("heatmap", run, "-o", tmp_path / "maps")
    assert status == 1 and len(out.splitlines()) == 2 and "1 of 3 slides of the run have no prediction" in err


@pytest.mark.integration
@pytest.mark.parametrize("what", ["attention", "evidence"])
def test_names_with_dollars_are_text(ats: Run, slides: Path, tmp_path: Path, what: str) -> None:
    strange = write_model(tmp_path / "strange", small_spec(classes=(r"5$ (\frac{ 上皮 $", "$x$ <b>[i]")))
    (slides / "one.png").rename(slides / r"$\frac{ [b].png")
    (slides / "broken.svs").unlink()
    status, out, _ = ats("heatmap", slides, "-m", strange, "-o", tmp_path / "maps", "--what", what)
    assert status == 0 and len(out.splitlines()) == 2
