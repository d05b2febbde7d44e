"""Every folder of tests/data/faults: an input that was once read wrongly, and the right value that its README names."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ats_cli import load_model, open_slide, predict
from ats_cli.app import run
from ats_cli.errors import AtsError, SlideError
from ats_cli.inference.evaluate import labelled_sources
from ats_cli.registry import TASKS
from ats_cli.results.evaluation.metrics import Table, auprc, auroc
from ats_cli.slides import check_slide, read_manifest
from ats_cli.slides.regions.region_files import read_regions
from ats_cli.training import labelled_slides, split_off
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import read_slide_view
from ats_cli.training.loop.processes import computation
from ats_cli.training.output import claim_output
from ats_cli.zoo.find import find_recipe
from tests.ats_process import ats_series
from tests.dask_cluster import dask_scheduler, other_version
from tests.small import copy_slide, write_model, write_slide

pytestmark = pytest.mark.integration

FAULTS = Path(__file__).parent / "data" / "faults"
DIGITS = Path(__file__).parents[1] / "examples" / "digits.tif"

# Folders whose inputs are not all understood yet.
OPEN: set[str] = set()

Ats = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ats(capfd: pytest.CaptureFixture[str]) -> Ats:
    def ats_(*arguments: object) -> tuple[int, str, str]:
        status = run([str(a) for a in arguments])
        return status, *capfd.readouterr()

    return ats_


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def mean_colour(path: Path, downsample: float = 1) -> list[float]:
    with open_slide(path) as slide:
        return slide.read_view(downsample).mean((0, 1)).tolist()


def records(out: str) -> dict[str, dict]:
    return {record["slide_id"]: record for record in map(json.loads, out.splitlines())}


def test_every_folder_is_tried_or_open() -> None:
    tried = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert {folder.name for folder in FAULTS.iterdir()} - tried == OPEN


@pytest.mark.parametrize("name", ["w1283.svs", "w1290.svs"])
def test_jpeg_view_scrambled(name: str) -> None:
    with open_slide(FAULTS / "jpeg-view-scrambled" / name) as slide:
        whole = slide.read_view(1).astype(float)
        for by in (2, 4, 8):
            rows, cols = (side // by * by for side in whole.shape[:2])
            blocks = whole[:rows, :cols].reshape(rows // by, by, cols // by, by, 3).mean((1, 3))
            view = slide.read_view(by)[: rows // by, : cols // by]
            assert np.abs(view - blocks).mean() < 1.5, by


@pytest.mark.parametrize("downsample", [1, 2, 3, 4, 8, 16])
def test_jpeg_of_four_samples(downsample: float) -> None:
    for name in ("rgbn_jpeg_nir.tif", "rgb_jpeg_same.tif"):
        colour = mean_colour(FAULTS / "jpeg-of-four-samples" / name, downsample)
        assert colour == pytest.approx([196.9, 171.1, 190.4], abs=0.7), name


@pytest.mark.parametrize("downsample", [1, 2, 8, 16])
def test_jpeg_three_bands_minisblack(downsample: float) -> None:
    path = FAULTS / "jpeg-three-bands-minisblack" / "rgb_minisblack_jpeg.tif"
    assert mean_colour(path, downsample) == pytest.approx([196.9, 171.1, 190.4], abs=0.7)


def test_svs_lower_level_tiles_of_zero_bytes(ats: Ats) -> None:
    folder = FAULTS / "svs-lower-level-tiles-of-zero-bytes"
    for downsample in (1, 2, 4, 8):
        whole = mean_colour(folder / "plain.svs", downsample)
        assert mean_colour(folder / "zero_edge_tiles.svs", downsample) == pytest.approx(whole, abs=0.7)
    status, out, _ = ats("predict", *sorted(folder.glob("*.svs")), "-m", "colon-epithelium", "--json")
    found = records(out)
    assert status == 0 and found["plain"]["positions"] == pytest.approx(found["zero_edge_tiles"]["positions"], abs=5)


@pytest.mark.parametrize("name", ["macrophages.ome.tif", "unlabeled.ome.tif"])
def test_ome_main_image_named_like_a_side_picture(name: str) -> None:
    with open_slide(FAULTS / "ome-main-image-named-like-a-side-picture" / name) as slide:
        assert (slide.width, slide.height, slide.mpp) == (1024, 1024, 0.5)


def test_evaluate_split_in_another_case(ats: Ats, tmp_path: Path) -> None:
    manifest = tmp_path / "split.csv"
    shutil.copy(FAULTS / "evaluate-split-in-another-case" / "split.csv", manifest)
    for line in manifest.read_text().splitlines()[1:]:
        copy_slide(DIGITS, tmp_path / line.split(",")[0])
    status, _, err = ats(
        "evaluate", "--manifest", manifest, "-m", "megapixel-digits", "--tiles", 3, "-o", tmp_path / "out"
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert status == 0 and (metrics["rows"]["taken"], metrics["rows"]["left"]) == (2, 1), err


@pytest.mark.parametrize("name", ["grey_sep_mismatch.zarr", "grey_no_chunks.zarr"])
def test_zarr_chunk_separator(name: str, ats: Ats, model: Path) -> None:
    path = FAULTS / "zarr-chunk-separator" / name
    with pytest.raises(SlideError, match=rf"^{name}: .*chunk") as raised:
        mean_colour(path)
    for command in (["info", path], ["info", path, "--check"], ["predict", path, "-m", model]):
        status, out, err = ats(*command)
        assert status == 1 and str(raised.value) in out + err and ": sound" not in out


def test_multi_file_slide_by_a_link(tmp_path: Path) -> None:
    folder = FAULTS / "multi-file-slide-by-a-link"
    for name in ("dicom/C.dcm", "mrxs/holes.mrxs", "mrxs/slide one.mrxs"):
        link = tmp_path / Path(name).name
        link.symlink_to(folder / name)
        with open_slide(folder / name) as slide, open_slide(link) as linked:
            assert linked.levels == slide.levels and linked.mpp == slide.mpp
            assert np.array_equal(linked.read_view(4), slide.read_view(4))
            assert linked.bytes_total == slide.bytes_total and linked.bytes_total > 50_000
    copied = tmp_path / "copied.mrxs"
    shutil.copy(folder / "mrxs" / "holes.mrxs", copied)
    with pytest.raises(SlideError, match="its folder copied is not beside it"):
        open_slide(copied)


def test_dicom_without_dcm_extension(ats: Ats, tmp_path: Path) -> None:
    folder = FAULTS / "dicom-without-dcm-extension"
    (tmp_path / "slides.csv").write_text(f"slide\n{folder / 'noext'}\n{folder / 'dicomext'}\n")
    for path in (folder / "noext", folder / "noext" / "IM00003", folder / "dicomext", folder / "dicomext" / "C.dicom"):
        status, out, err = ats("info", path, "--json")
        assert status == 0, err
        facts = json.loads(out)
        assert (facts["width"], facts["height"], facts["mpp"]) == (1024, 1024, pytest.approx(0.5, abs=0.01))
    status, out, err = ats(
        "predict", "--manifest", tmp_path / "slides.csv", "-m", write_model(tmp_path / "m"), "--json"
    )
    assert status == 0 and len(out.splitlines()) == 2, err


def test_svs_mpp_with_decimal_comma() -> None:
    for name, mpp in {"comma_mpp.svs": 0.499, "comma_mpp_power.svs": 0.2631}.items():
        with open_slide(FAULTS / "svs-mpp-with-decimal-comma" / name) as slide:
            assert slide.mpp == pytest.approx(mpp, abs=1e-4), name


def test_three_fluorescence_channels_as_rgb() -> None:
    path = FAULTS / "three-fluorescence-channels-as-rgb" / "if_planes_named.ome.tif"
    with pytest.raises(SlideError, match=r"DAPI.*CD3.*CD8.*--plane c=") as raised:
        open_slide(path)
    assert str(raised.value).startswith(path.name)


@pytest.mark.parametrize("sampler", ["Pivotal", "murty", "x", "without_replacement"])
def test_python_unknown_sampler(sampler: str) -> None:
    model = load_model("megapixel-digits")
    with pytest.raises(AtsError, match=sampler):
        predict(DIGITS, model, tiles=10, sampler=sampler)
    for wrong in ({"tiles": 0}, {"tiles": -1}, {"confidence": 0.9, "sampler": "pivotal"}):
        with pytest.raises(AtsError):
            predict(DIGITS, model, **wrong)


def test_name_that_is_not_utf8(ats: Ats, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    os.link(shutil.copy(DIGITS, folder / "good.tif"), os.fsencode(folder) + b"/caf\xe9.tif")
    (folder / "good.tif").unlink()
    shutil.copy(DIGITS, folder / "good.tif")
    status, out, err = ats("predict", folder, "-m", "megapixel-digits", "--json", "-o", tmp_path / "run")
    assert status == 0 and len(out.splitlines()) == 2 and "good" in records(out), err
    status, _, err = ats("heatmap", folder, "-m", "megapixel-digits", "-o", tmp_path / "maps")
    assert status == 0 and len(list((tmp_path / "maps").iterdir())) == 2, err


def test_dangling_link_in_a_folder(ats: Ats, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    shutil.copy(DIGITS, folder / "good.tif")
    (folder / "broken.svs").symlink_to("/nonexistent/x.svs")
    status, out, err = ats("predict", folder, "-m", "megapixel-digits", "--json")
    found = records(out)
    assert status == 1 and found["good"]["status"] == "ok"
    assert found["broken"]["status"] == "failed" and "/nonexistent/x.svs" in found["broken"]["error"], err


def test_gdal_jpeg_interleave_band() -> None:
    for downsample in (1, 2, 4, 8):
        colour = mean_colour(FAULTS / "gdal-jpeg-interleave-band" / "jpeg_band.tif", downsample)
        assert colour == pytest.approx([196.9, 171.1, 190.8], abs=0.7)


def test_zarr_black_chunks_not_written() -> None:
    with open_slide(FAULTS / "zarr-black-chunks-not-written" / "black_half_not_written.zarr") as slide:
        for downsample in (1, 2, 4, 8):
            view = slide.read_view(downsample)
            left, right = view[:, : view.shape[1] // 2 - 1], view[:, view.shape[1] // 2 + 1 :]
            assert 120 < left.mean() < 250 and right.min() == right.max()


@pytest.mark.parametrize("name", ["bot_zeros.dcm", "bot_wrapped.dcm", "bot_shifted.dcm"])
def test_dicom_table_of_offsets(name: str, tmp_path: Path) -> None:
    # Alone in a folder: the three have one series.
    path = shutil.copy(FAULTS / "dicom-table-of-offsets" / name, tmp_path / name)
    with open_slide(path) as slide:
        assert slide.read_view(1).mean((0, 1)) == pytest.approx([196.6, 171.4, 190.4], abs=1.5)
        assert check_slide(slide).sound


def test_generic_tiff_level_jump() -> None:
    with open_slide(FAULTS / "generic-tiff-level-jump" / "jump8.tif") as slide:
        assert [level.downsample for level in slide.levels] == [1, 8]


def test_regions_of_a_slide_with_bounds(ats: Ats, tmp_path: Path) -> None:
    folder = FAULTS / "regions-of-a-slide-with-bounds"
    roi = folder / "offset.geojson"
    (tmp_path / "t.csv").write_text(f"slide,roi\n{folder / 'offset.scn'},{roi}\n")
    for way in ([folder / "offset.scn", "--roi", roi], ["--manifest", tmp_path / "t.csv"]):
        status, _, err = ats("predict", *way, "-m", "colon-epithelium", "-n", 40, "--overwrite", "-o", tmp_path / "run")
        assert status == 0, err
        with (tmp_path / "run" / "slides" / "offset" / "tiles.csv").open(newline="") as file:
            tiles = [[float(row[key]) for key in ("minx", "miny", "width")] for row in csv.DictReader(file)]
        centres = np.array([(x + side / 2, y + side / 2) for x, y, side in tiles])
        assert len(tiles) == 40 and (centres >= (704, 128)).all() and (centres <= (960, 640)).all()
    slide = LabelledSlide("offset", folder / "offset.scn", "a", roi=roi)
    with slide.open() as image:
        view = read_slide_view(image, slide, find_recipe("tissue").spec, None)
    rows, cols = np.nonzero(view.allowed)
    pitch = view.geometry.pitch
    assert (cols.min() * pitch, rows.min() * pitch) >= (704, 128) and (cols.max() + 1) * pitch <= 960
    assert (rows.max() + 1) * pitch <= 640


def test_geojson() -> None:
    for path in sorted((FAULTS / "geojson").glob("*.geojson")):
        assert read_regions(path), path.name


def test_merge_with_a_part_missing(ats: Ats, model: Path, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in "abcdef":
        shutil.copy(DIGITS, slides / f"{name}.tif")
    for part in (1, 3):
        out = tmp_path / "parts" / str(part)
        assert ats("predict", slides, "-m", model, "--tiles", 2, "-o", out, "--shard", f"{part}/3")[0] == 0
    status, _, err = ats("merge", *sorted((tmp_path / "parts").iterdir()), "-o", tmp_path / "all")
    assert (status == 1 and "2 of 3" in err) or "2/3" in err


def test_tilde_in_a_path(ats: Ats, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, current = tmp_path / "home", tmp_path / "current"
    home.mkdir()
    (current / "~").mkdir(parents=True)  # as an earlier call left it
    shutil.copy(DIGITS, home / "slide.tif")
    model.rename(home / "model")
    (current / "slides.csv").write_text("slide\n~/slide.tif\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(current)
    for number, given in enumerate((["~/slide.tif"], ["~/sl*.tif"], ["--manifest", "slides.csv"])):
        output = (f"-o=~/run{number}", f"--output=~/run{number}", f"-o~/run{number}")[number]
        status, _, err = ats("predict", *given, "-m", "~/model", output)
        assert status == 0 and (home / f"run{number}" / "predictions.csv").is_file(), err
    monkeypatch.setenv("ATS_MODEL", "~/model")
    monkeypatch.setenv("ATS_CONFIG", "~/config")
    assert ats("predict", "~/slide.tif", "--json")[0] == 0
    assert ats("models", "default", "~/model")[0] == 0
    assert (home / "config" / "config.toml").read_text() == f'model = "{home}/model"\n'
    assert ats("heatmap", "~/slide.tif", "-o", "~/maps/a.png")[0] == 0 and (home / "maps" / "a.png").is_file()
    assert sorted(path.name for path in current.rglob("*")) == ["slides.csv", "~"]


TRAINING = ("--recipe", "digits-small", "--steps", 4, "--batch-size", 4)


def test_train_val_test_folders_as_classes(ats: Ats, tmp_path: Path) -> None:
    folder, model = FAULTS / "train-val-test-folders-as-classes", tmp_path / "m"
    status, _, err = ats("train", folder, "-o", model, *TRAINING)
    assert status == 0 and "parts of a split" in err, err
    assert json.loads((model / "metrics.json").read_text())["train_slides"] == 8
    rows = (model / "split.csv").read_text().splitlines()
    assert sum(",val," in row for row in rows) == 4 and not any("test" in Path(row.split(",")[0]).parts for row in rows)
    status, _, err = ats("evaluate", folder, "-m", model, "--tiles", 2)
    assert status == 0 and "4 of 16 slides are taken (4 test)" in err, err
    folds = tmp_path / "folds"
    shutil.copytree(folder / "train", folds / "fold1")
    shutil.copytree(folder / "val", folds / "fold2")
    status, _, err = ats("train", folds, "-o", tmp_path / "n", *TRAINING)
    assert status == 2 and "fold1" in err and "--folds" in err, err


def test_fold_that_learns_without_a_class(ats: Ats, tmp_path: Path) -> None:
    folder = FAULTS / "fold-that-learns-without-a-class"
    for table, name, task in (("mixed.csv", "b", "multi-class"), ("rare_label.csv", "rare", "multi-label")):
        train = ("train", "--manifest", folder / table, "--task", task, *TRAINING, "-o", tmp_path / "m")
        for more, words in (("--folds", 2), "too few for a fold each"), ((), "too few to keep some for validation"):
            status, _, err = ats(*train, *more)
            assert status == 2 and f"class {name} has 1 " in err and words in err, err
        for split, words in ("val", "no slide to train on"), ("test", "no slide to train on"):
            lines = (folder / table).read_text().splitlines()
            rows = [f"{line},{split if name in line.split(',')[1].split(';') else 'train'}" for line in lines[1:]]
            (tmp_path / table).write_text("\n".join([f"{lines[0]},split", *rows]).replace(",p0,", ",,") + "\n")
            given = ("--manifest", tmp_path / table, "--slides-root", folder)
            status, _, err = ats("train", *given, "--task", task, *TRAINING, "-o", tmp_path / "m")
            assert status == 2 and f"class {name} has {words}" in err, err
    assert not (tmp_path / "m").exists()


def test_balance_ignored_of_multi_label(ats: Ats, tmp_path: Path) -> None:
    table = FAULTS / "balance-ignored-of-multi-label" / "labels.csv"
    train = ("train", "--manifest", table, *TRAINING, "--threads", 1, "--task")
    weights = []
    for balance in ("none", "weights", "draws"):
        output = tmp_path / balance
        status, _, err = ats(*train, "multi-label", "--balance", balance, "-o", output)
        assert status == 0, err
        weights.append((output / "weights.safetensors").read_bytes())
    assert len(set(weights)) == 3
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("slide,label\n" + "".join(f"{table.parent}/slides/a{i}.png,{i}\n" for i in range(8)))
    status, _, err = ats(
        "train", "--manifest", numbers, *TRAINING, "--task", "regression", "--balance", "weights", "-o", tmp_path / "r"
    )
    assert status == 2 and "--balance" in err and "regression" in err, err


TRAIN = ("--recipe", "digits-small", "--batch-size", 8, "--threads", 1, "--device", "cpu", "--quiet")


def test_two_trainings_into_one_folder(ats: Ats, tmp_path: Path) -> None:
    slides, output = FAULTS / "two-trainings-into-one-folder" / "slides", tmp_path / "m"
    call = ("train", slides, "-o", output, *TRAIN, "--steps", 3)
    with claim_output(output):
        for more in ((), ("--resume",)):
            status, _, err = ats(*call, "--seed", 1, *more)
            assert status == 2 and "another training writes into this folder" in err
    assert ats(*call, "--seed", 0)[0] == 0
    status, _, err = ats(*call, "--seed", 1, "--resume")
    assert status == 2 and "started with --seed 0, not with --seed 1" in err
    assert len((output / "history.csv").read_text().splitlines()) == 1 + 3


def test_resume_with_folds_checked_too_late(ats: Ats, tmp_path: Path) -> None:
    slides = FAULTS / "resume-with-folds-checked-too-late" / "slides"
    for begun, resumed, words in (
        ((), ("--folds", 2), "started without --folds, not with --folds 2."),
        (("--folds", 2), (), "started with --folds 2, not without --folds."),
        (("--folds", 2), ("--folds", 3), "started with --folds 2, not with --folds 3."),
    ):
        output = tmp_path / "-".join(map(str, ("m", *begun)))
        call = ("train", slides, "-o", output, *TRAIN, "--steps", 2)
        if not output.exists():
            assert ats(*call, *begun)[0] == 0
        before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix}
        status, _, err = ats(*call, "--resume", *resumed)
        assert status == 2 and words in err, err
        assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix} == before


def test_slides_without_tissue_and_one_number_for_all(ats: Ats, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(9):
        stain = np.full((256, 256, 3), (150, 60, 140), np.uint8) - rng.integers(0, 30, (256, 256, 3), np.uint8)
        write_slide(
            tmp_path / "data" / "ab"[number % 2] / f"{number}.tif", np.full_like(stain, 255) if number == 8 else stain
        )
    call = ("train", tmp_path / "data", "--mpp", 4, "--steps", 1, "--batch-size", 2, "--tiles", 2)
    status, _, err = ats(*call, "-o", tmp_path / "m")
    assert status == 2 and "1 of 9 slides cannot be read" in err and "no tissue found" in err, err
    status, out, err = ats(*call, "--skip-bad", "--dry-run", "--json")
    found = json.loads(out)
    assert status == 0 and (found["slides"], found["without_tissue"]) == (8, 1), err
    assert found["left_out"] == {"without tissue": 1}
    table = tmp_path / "numbers.csv"
    table.write_text("slide,label\n" + "".join(f"data/{'ab'[i % 2]}/{i}.tif,{('5', '5.0')[i % 2]}\n" for i in range(8)))
    status, _, err = ats("train", "--manifest", table, "--task", "regression", "-o", tmp_path / "m")
    assert status == 2 and "all 8 slides have the same number, 5" in err, err
    assert not (tmp_path / "m").exists()


def test_one_file_in_two_classes(ats: Ats, tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "m"
    shutil.copytree(FAULTS / "one-file-in-two-classes", data, ignore=shutil.ignore_patterns("README"))
    first, other, own = data / "a" / "a0.png", data / "b" / "again.png", data / "a" / "again.png"
    shutil.copy(first, own)
    status, _, err = ats("train", data, *TRAINING, "-o", model)
    metrics = json.loads((model / "metrics.json").read_text())
    assert status == 0 and "counted once: a/again (as a/a0)" in " ".join(err.replace("\nats:", " ").split()), err
    assert metrics["train_slides"] + metrics["validation_slides"] == 16
    status, _, err = ats("evaluate", data, "-m", model, "--tiles", 2, "-o", tmp_path / "e")
    assert status == 0 and json.loads((tmp_path / "e" / "metrics.json").read_text())["slides"] == 16, err
    own.unlink()
    for make in (Path.symlink_to, Path.hardlink_to, lambda path, to: shutil.copy(to, path)):
        make(other, first)
        for call in (("train", data, *TRAINING, "-o", tmp_path / "n"), ("evaluate", data, "-m", model)):
            status, _, err = ats(*call)
            assert status == 2 and all(word in err for word in (str(first), str(other), "the same file")), err
        status, out, err = ats("predict", data, "-m", model, "--json")
        assert status == 0 and len(out.splitlines()) == 17 and "again (as a0)" in err, err
        other.unlink()


@pytest.mark.slow
def test_cluster_relative_paths(ats: Ats, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = (
        shutil.copytree(FAULTS / "cluster-relative-paths" / name, tmp_path / name) for name in ["here", "there"]
    )
    model.rename(here / "m")
    monkeypatch.chdir(here)
    call = ("predict", "s/x.png", "-m", "m", "--json")
    alone = records(ats(*call)[1])["x"]
    with dask_scheduler() as dask:
        dask.start(there)
        for number in range(2):
            status, out, err = ats(*call, "--cluster", dask.address, "-o", f"run{number}")
            assert status == 0, err
            found = records(out)["x"]
            assert found["path"] == "s/x.png" and {**found, "seconds": None} == {**alone, "seconds": None}
            shutil.rmtree(there / "s", ignore_errors=True)


@pytest.mark.slow
def test_cluster_worker_of_another_version(ats: Ats, model: Path, tmp_path: Path) -> None:
    with dask_scheduler() as dask:
        dask.start(tmp_path / "there", other_version(tmp_path / "other"))
        status, out, err = ats("predict", DIGITS, "-m", model, "--cluster", dask.address, "-o", tmp_path / "run")
        assert status == 2 and not out and "worker tcp://" in err and "has ats 9.9, not" in err
        assert not list((tmp_path / "run").glob("slides/*"))


def test_small(ats: Ats, tmp_path: Path) -> None:
    """All but the title of a heatmap in Japanese, and the standard error of four tiles."""
    predict_digits = ("predict", DIGITS, "-m", "megapixel-digits")
    closed = subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", *ats_series(predict_digits)], capture_output=True, text=True
    )
    assert "Traceback" not in closed.stderr
    slides = tmp_path / "slides"
    slides.mkdir()
    shutil.copy(DIGITS, slides / "日本.tif")
    (slides / "link.tif").symlink_to(slides / "日本.tif")
    (slides / "@eaDir" / "x.svs").mkdir(parents=True)
    shutil.copy(DIGITS, slides / "@eaDir" / "x.svs" / "SYNOFILE_THUMB_M.tif")
    predict_all = ("predict", slides, "-m", "megapixel-digits")
    series = ats_series(("info", slides), predict_all, (*predict_all, "--json"))
    narrow = subprocess.run(series, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"})
    assert narrow.returncode == 0 and b"Error" not in narrow.stderr, narrow.stderr
    run_folder = tmp_path / "run"
    status, out, _ = ats("predict", slides, "-m", "megapixel-digits", "--json", "-o", run_folder)
    before = records(out)
    assert status == 0 and set(before) == {"日本", "link"}
    # Another slide under the same name is predicted anew.
    (slides / "日本.tif").unlink()
    with open_slide(DIGITS) as slide:
        Image.fromarray(slide.read_view(1)[::-1]).save(slides / "日本.tif")
    status, out, err = ats("predict", slides, "-m", "megapixel-digits", "--json", "-o", run_folder)
    assert status == 0 and records(out)["日本"]["logits"] != before["日本"]["logits"], err


def test_manifests(ats: Ats, tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif", "D.TIF", "E.ome.tif"):
        shutil.copy(DIGITS, tmp_path / name)
    right = {
        "semi.csv": "ab", "semi_bom.csv": "a", "tab.tsv": "a", "pandas.csv": "ab", "trailing.csv": "ab",
        "extra.csv": "ab", "clam_upper.csv": "D", "clam_ome.csv": "E",
    }  # fmt: skip
    for name, slides in right.items():
        table = shutil.copy(FAULTS / "manifests" / name, tmp_path / name)
        status, out, err = ats("predict", "--manifest", table, "-m", "megapixel-digits", "--tiles", 2, "--json")
        found = records(out)
        assert status == 0 and "".join(found) == slides, (name, err)
        assert found[slides[0]]["mpp"] == (0.25 if name == "semi_bom.csv" else None)
        assert ("not used: age, stain" in err) == (name == "extra.csv")


def test_missing_values_as_labels_and_groups(ats: Ats, tmp_path: Path) -> None:
    folder = FAULTS / "missing-values-as-labels-and-groups"
    call = ("--recipe", "digits-small", "--steps", 1, "--batch-size", 2, "-o", tmp_path / "m")
    status, _, err = ats("train", "--manifest", folder / "label_na.csv", *call)
    assert status == 2 and "row 7: " in err and "a5.png has no label" in err and "3 of label ('NA' in row 7)" in err
    with pytest.raises(AtsError, match="has no label"):
        labelled_sources(None, folder / "label_na.csv", None, ("normal", "tumour"))
    several = labelled_slides(None, folder / "label_nan_multi.csv", task="multi-label")
    assert [s.label for s in several if s.slide_id in ("b0", "b1")] == ["", "y"]
    assert TASKS["multi-label"].classes([s.label for s in several]) == ("x", "y")
    # A group is missing of ten slides: each is a group of its own, so a fifth of the units is not eleven slides.
    _, held_out = split_off(labelled_slides(None, folder / "group_na.csv", task="multi-class"), 0.2, seed=0)
    assert 2 <= len(held_out) <= 4
    labelled, _ = labelled_sources(None, folder / "group_na.csv", None, ("a", "b"))
    assert len({one.group for one in labelled}) == 16
    call = ("predict", "--manifest", folder / "group_na.csv", "-m", write_model(tmp_path / "small"), "--json")
    status, out, err = ats(*call, "--group-by", "group")
    groups = [json.loads(line)["group"] for line in out.splitlines() if "group" in json.loads(line)]
    assert status == 0 and len(groups) == 16 and "NA" not in groups, err


@pytest.mark.parametrize(
    ("name", "classes", "example"),
    [
        ("numbers", ["0", "1"], "'1' (row 2) and '1.0' (row 10) are one label, 1 (and 1 more like this)."),
        ("unicode", ["Größe", "klein"], "'Gr\\xf6\\xdfe' (row 2) and 'Gro\\u0308\\xdfe' (row 10) are one label"),
        ("blanks", ["high grade", "low grade"], "are one label, "),
        ("invisible", ["normal", "tumour"], "'tumour' (row 2) and 'tumour\\u200b' (row 10) are one label"),
    ],
)
def test_one_class_in_two_spellings(
    name: str, classes: list[str], example: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = FAULTS / "one-class-in-two-spellings" / f"{name}.csv"
    slides = labelled_slides(None, table)
    assert sorted({slide.label for slide in slides}) == classes and example in caplog.text
    labelled, _ = labelled_sources(None, table, None, classes)
    assert [one.label for one in labelled] == [slide.label for slide in slides]
    # Folders of classes alike: one folder a spelling.
    for slide, row in zip(slides, read_manifest(table).rows, strict=True):
        into = tmp_path / "data" / str(row.label)
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy(slide.path, into)
    assert sorted({slide.label for slide in labelled_slides(tmp_path / "data", None)}) == classes
    assert len(labelled_sources(tmp_path / "data", None, None, classes)[0]) == 16
    # A manifest that names a file in the other normal form.
    composed, decomposed = "Gr\u00f6\u00dfe.png", "Gro\u0308\u00dfe.png"
    shutil.copy(slides[0].path, tmp_path / composed)
    (tmp_path / "names.csv").write_text(f"slide\n{decomposed}\n", encoding="utf-8")
    assert read_manifest(tmp_path / "names.csv").rows[0].path == tmp_path / composed
    shutil.copy(slides[0].path, tmp_path / decomposed)
    assert read_manifest(tmp_path / "names.csv").rows[0].path == tmp_path / decomposed


def test_small_2(ats: Ats, tmp_path: Path) -> None:
    """All but names in another encoding (test_name_that_is_not_utf8)."""
    slides = sorted((FAULTS / "one-class-in-two-spellings" / "slides").iterdir())
    one_class = Table(np.zeros(4, np.int64), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]))
    assert np.isnan(auprc(one_class, one_class.ones)) and np.isnan(auroc(one_class, one_class.ones))

    link, table = tmp_path / "link", tmp_path / "t.csv"
    link.symlink_to("/nonexistent/scratch")
    call = ("train", "--manifest", table, "--recipe", "digits-small", "--steps", 1, "--batch-size", 2)
    white = tmp_path / "white.png"
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(white)

    def written(column: str, *cells: object, paths: Sequence[Path] = slides) -> Path:
        rows = [f"{path},{cell}" for path, cell in zip(paths, cells, strict=False)]
        table.write_text("\n".join([f"slide,{column}", *rows]))
        return table

    written("label", *"abab")
    for options in (("--lr", "inf", "-o", tmp_path / "m"), ("-o", link)):
        status, _, err = ats(*call, *options)
        assert status == 2 and ("training.lr must" in err or "a link to /nonexistent/scratch, which is" in err), err
    for command in (["predict", DIGITS], ["heatmap", DIGITS], ["evaluate", "--manifest", written("label", "1", "2")]):
        status, _, err = ats(*command, "-m", "megapixel-digits", "-o", link)
        assert status == 2 and "a link to /nonexistent/scratch, which is not there" in err

    for column in ("mpp", "weight"):
        for cell in ("0_25", "1_0", "inf", "1e999"):
            with pytest.raises(SlideError, match=f"row 3 has {column} '{cell}', which is not a number"):
                read_manifest(written(column, 1, cell))
    call = (*call, "--task", "regression", "-o", tmp_path / "m")
    status, _, err = ats(*call, "--manifest", written("label", 1, "1_000"))
    assert status == 2 and "row 3: label '1_000' is not a number" in err
    status, _, err = ats(*call, "--manifest", written("label", 5, "5.0"))
    assert status == 2 and "all 2 slides have the same number, 5" in err

    written("label", *"aba", paths=[*slides[:2], white])
    status, _, err = ats("train", "--manifest", table, "--mpp", 0.5, "-o", tmp_path / "m", "--val", 0)
    assert status == 2 and "white: white.png: no tissue found" in err

    with open_slide(DIGITS, mpp=0.5) as slide, pickle.loads(pickle.dumps(slide)) as again:
        assert (again.path, again.mpp, again.levels) == (DIGITS.absolute(), 0.5, slide.levels)
        assert np.array_equal(again.read_view(8), slide.read_view(8))
    assert "threads of torch (OMP_NUM_THREADS)" in computation("cpu", 1)  # which --resume compares
