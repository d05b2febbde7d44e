"""Optional outputs of `ats predict`: written with the prediction, or added to a finished run."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr
from geojson_pydantic import FeatureCollection
from PIL import Image
from shapely.geometry import shape
from shapely.ops import unary_union

from ats_cli import load_model, open_slide

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]


def features(run: Path, slide_id: str) -> list[dict]:
    document = json.loads((run / "slides" / slide_id / "tiles.geojson").read_text())
    FeatureCollection.model_validate(document)  # RFC 7946
    return document["features"]


def test_geojson_holds_what_qupath_imports(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """The rules of QuPath's import: ids are UUIDs, classifications have a colour, measurements are numbers."""
    run = tmp_path / "run"
    assert ats("predict", slides, "-m", model, "-n", 5, "-o", run, "--geojson")[0] == 1, "one slide cannot be read"
    record = json.loads((run / "slides" / "one" / "prediction.json").read_text())
    found = features(run, "one")
    assert len({UUID(feature["id"]) for feature in found}) == len(found)
    region, *tiles = found
    assert region["properties"]["objectType"] == "annotation" and len(tiles) == 5
    assert shape(region["geometry"]).is_valid
    evidence = np.zeros(len(record["classes"]))
    for tile in tiles:
        properties = tile["properties"]
        assert properties["objectType"] == "tile" and properties["isLocked"] is True
        assert properties["classification"]["name"] in record["classes"]
        assert [type(part) for part in properties["classification"]["color"]] == [int] * 3
        assert all(isinstance(value, float) for value in properties["measurements"].values())
        assert all(isinstance(value, str) for value in properties["metadata"].values())
        (ring,) = tile["geometry"]["coordinates"]
        assert ring[0] == ring[-1] and len(ring) == 5
        evidence += [properties["measurements"][f"evidence_{name}"] for name in record["classes"]]
    bias = np.load(run / "slides" / "one" / "draw.npz")["bias"]
    assert np.allclose(evidence + bias, list(record["logits"].values()), atol=1e-5)
    # Tiles are centred on their positions.
    centres = [shape(tile["geometry"]).centroid for tile in tiles]
    assert all(shape(region["geometry"]).covers(centre) for centre in centres)
    assert not (run / "slides" / "broken" / "tiles.geojson").exists()


def test_outputs_added_later_are_those_of_the_first_call(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    for name, later in (("at-once", []), ("later", ["--geojson"])):
        call = ["predict", slides, "-m", model, "-n", 5, "-o", tmp_path / name]
        ats(*call, *([] if later else ["--geojson"]))
        if later:
            assert not list((tmp_path / name).rglob("tiles.geojson"))
            (slides / "broken.svs").unlink()
            status, _, err = ats(*call, *later)
            assert status == 0 and "read again" not in err
    for slide_id in ("one", "two [x]"):
        assert features(tmp_path / "at-once", slide_id) == features(tmp_path / "later", slide_id)
    tiles = [shape(feature["geometry"]) for feature in features(tmp_path / "later", "one")[1:]]
    assert unary_union(tiles).area > 0


def test_an_output_needs_a_run_folder(ats: Run, model: Path, slides: Path) -> None:
    status, _, err = ats("predict", slides / "one.png", "-m", model, "--geojson")
    assert status == 2 and "--geojson" in err and "-o" in err


def test_outputs_of_an_earlier_prediction_do_not_stay(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    call = ["predict", slides / "one.png", "-m", model, "--sampler", "murthy", "-o", tmp_path / "run"]
    ats(*call, "-n", 4, "--geojson")
    assert len(features(tmp_path / "run", "one")) == 5
    assert ats(*call, "-n", 8, "--extend")[0] == 0
    assert not (tmp_path / "run" / "slides" / "one" / "tiles.geojson").exists()
    assert ats(*call, "-n", 8, "--extend", "--geojson")[0] == 0
    assert len(features(tmp_path / "run", "one")) == 9


def test_attention_maps_are_written_with_the_prediction_and_added_to_a_finished_run(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    run, folder = tmp_path / "run", tmp_path / "run" / "slides" / "one"
    call = ["predict", slides / "one.png", "-m", model, "-n", 5, "-o", run]
    assert ats(*call, "--attention", "ome-tiff")[0] == 0
    values = tifffile.imread(folder / "attention.ome.tiff")
    record = json.loads((folder / "prediction.json").read_text())
    draw = np.load(folder / "draw.npz")
    drawn = values.ravel()[draw["positions"]] / record["positions"]
    assert np.allclose(drawn, draw["attention"], rtol=1e-5), "in multiples of the average over positions"
    assert tifffile.imread(folder / "attention-rgb.ome.tiff").shape == (*values.shape, 3)
    status, _, err = ats(*call, "--attention", "ome-zarr")
    assert status == 0 and "only the low-resolution view is read again" in err
    assert np.array_equal(zarr.open_group(folder / "attention.ome.zarr", mode="r")["0"][:], values)
    (slides / "one.png").unlink()
    status, _, err = ats(*call, "--attention", "ome-zarr-0.4")
    assert status != 0 and "one.png" in err
    assert (folder / "attention.ome.zarr" / "zarr.json").is_file()


def test_an_added_map_of_a_slide_that_is_gone_is_status_one(
    ats: Run, model: Path, slides: Path, tmp_path: Path
) -> None:
    (slides / "broken.svs").unlink()
    call = ["predict", "-m", model, "-n", 5, "-o", tmp_path / "run", "--processes", 0]
    manifest = tmp_path / "slides.csv"
    manifest.write_text("slide\n" + "\n".join(str(path) for path in slides.glob("*.png")))
    assert ats(*call, "--manifest", manifest)[0] == 0
    (slides / "one.png").write_bytes(b"no picture at all")
    status, _, err = ats(*call, "--manifest", manifest, "--attention", "ome-zarr")
    assert status == 1 and "one.png" in err
    assert (tmp_path / "run" / "slides" / "two [x]" / "attention.ome.zarr").is_dir()


def test_the_tiles_that_were_read_are_saved_as_pictures(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    """Each file holds the pixels of its place on the slide; the first ones speak most for the answer."""
    run, folder = tmp_path / "run", tmp_path / "run" / "slides" / "one"
    assert ats("predict", slides / "one.png", "-m", model, "-n", 12, "-o", run, "--save-tiles")[0] == 0
    record = json.loads((folder / "prediction.json").read_text())
    rows = list(csv.DictReader((folder / "tiles.csv").open()))
    files = sorted((folder / "tiles").iterdir())
    assert len(files) == len(rows) == 12
    shares = {(round(float(row["minx"])), round(float(row["miny"]))): row for row in rows}
    column = "share_" + max(record["logits"], key=record["logits"].get)
    evidence = []
    with open_slide(slides / "one.png") as slide:
        for rank, file in enumerate(files, 1):
            number, x, y = re.fullmatch(r"(\d+)_x(-?\d+)_y(-?\d+)\.png", file.name).groups()
            assert int(number) == rank
            row = shares[int(x), int(y)]
            box = tuple(float(row[name]) for name in ("minx", "miny", "width", "height"))
            pixels = np.asarray(Image.open(file))
            assert np.array_equal(pixels, next(iter(slide.read_tiles([box], pixels.shape[0], fill=255))))
            evidence.append(float(row[column]))
    assert evidence == sorted(evidence, reverse=True)
    assert Image.open(folder / "contact-sheet.png").format == "PNG"
    # Pictures that ats wrote are no slides.
    status, _, err = ats("info", run)
    assert status == 2 and "no slide" in err


def test_hdf5_is_read_as_clam_and_trident_do(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "run" / "slides" / "one"
    assert ats("predict", slides / "one.png", "-m", model, "-n", 6, "-o", run, "--hdf5")[0] == 0
    loaded = load_model(model)
    tiles = np.load(folder / "draw.npz")
    with h5py.File(folder / "tiles.h5") as file, open_slide(slides / "one.png") as slide:
        coords, features = file["coords"][:], file["features"][:]
        side = int(file["coords"].attrs["patch_size_level0"])
        assert coords.shape == (6, 2) and coords.dtype == np.int64
        assert np.abs(coords - tiles["boxes"][:, :2]).max() <= 0.5 and side == round(tiles["boxes"][0, 2])
        patches = np.stack(list(slide.read_tiles(tiles["boxes"], int(file["coords"].attrs["patch_size"]), fill=255)))
    with torch.inference_mode():
        expected = loaded.nets.embed(torch.from_numpy(patches.copy()).permute(0, 3, 1, 2) / 255)
        logits = loaded.nets.logits((torch.from_numpy(tiles["weights"]).float() @ expected)[None])
    assert np.allclose(features, expected.numpy(), atol=1e-5)
    record = json.loads((folder / "prediction.json").read_text())
    assert np.allclose(logits.numpy()[0], list(record["logits"].values()), atol=1e-4)


def test_a_run_whose_tiles_are_damaged_says_so(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    call = ["predict", slides / "one.png", "-m", model, "-n", 4, "-o", tmp_path / "run"]
    assert ats(*call)[0] == 0
    draw = tmp_path / "run" / "slides" / "one" / "draw.npz"
    draw.write_bytes(draw.read_bytes()[:100])
    status, _, err = ats(*call, "--geojson")
    assert status == 1 and "one: draw.npz is missing or damaged" in " ".join(err.split())


def test_an_output_that_cannot_be_drawn_costs_neither_the_prediction_nor_the_run(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a fault of the writer")

    monkeypatch.setattr("ats_cli.results.writers.tile_pictures.write_contact_sheet", broken)
    (slides / "broken.svs").unlink()
    call = ["predict", slides, "-m", model, "-n", 4, "-o", tmp_path / "run", "--save-tiles", "--processes", 0]
    status, out, err = ats(*call, "--json")
    assert status == 1 and [json.loads(line)["status"] for line in out.splitlines()] == ["ok", "ok"]
    assert err.count("an output is not written") == 2
    monkeypatch.undo()
    assert ats(*call)[0] == 0
    assert len(list((tmp_path / "run").rglob("contact-sheet.png"))) == 2
