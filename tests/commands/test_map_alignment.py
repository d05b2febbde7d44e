"""Maps lie where the slide is: the centre of each dark square, read back through independent readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from shapely.geometry import shape

from ats_cli.nets.model import Model
from ats_cli.zoo import save_model
from tests.slides.bounded_slides import write_mirax, write_scn
from tests.small import small_spec, write_slide

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]

WIDTH, HEIGHT, SIDE, MPP = 704, 608, 29, 0.5
SQUARES = ((61, 87), (333, 211), (590, 503))  # the top left corners, in pixels of the picture


@dataclass(frozen=True)
class Place:
    """Where the squares lie on level 0, and where QuPath's picture begins."""

    path: Path
    offset: tuple[int, int]

    def centres(self) -> list[tuple[float, float]]:
        return [(x + SIDE / 2 + self.offset[0], y + SIDE / 2 + self.offset[1]) for x, y in SQUARES]


def place_of(kind: str, folder: Path) -> Place:
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for x, y in SQUARES:
        pixels[y : y + SIDE, x : x + SIDE] = 30
    if kind == "tiff":
        return Place(write_slide(folder / "slide.tif", pixels, MPP), (0, 0))
    if kind == "scn":
        return Place(write_scn(folder / "slide.scn", (1100, 1000), [(pixels, 211, 97)]), (211, 97))
    return Place(write_mirax(folder / "slide.mrxs", (1088, 992), [(pixels, 131, 77)]), (131, 77))


def bright_model(folder: Path, scale: float) -> Path:
    """A model whose attention is on what is dark, as its prior says; nothing is trained."""
    spec = small_spec({"scale": scale, "prior": "dense", "prior_saturation": 1.0}, unit="um", background=255)
    spec = replace(spec, features=replace(spec.features, scale=scale / 4))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_model(folder, Model(spec).eval().requires_grad_(False), {}, "# bright\n")
    return folder


def near(values: np.ndarray, x: np.ndarray, y: np.ndarray, centre: tuple[float, float]) -> tuple[float, float]:
    """The centre of mass of what stands out of the map around a square; x, y: of each value, in level-0 pixels."""
    inside = (abs(x - centre[0]) < 2 * SIDE) & (abs(y - centre[1]) < 2 * SIDE)
    mass = np.where(inside, values - np.median(values), 0.0).clip(min=0)
    mass[mass < mass.max() / 100] = 0
    return float((mass * x).sum() / mass.sum()), float((mass * y).sum() / mass.sum())


def of_grid(
    values: np.ndarray, size: float, first: float, m: float, centre: tuple[float, float]
) -> tuple[float, float]:
    """The centre of mass of a map whose cell i has its middle at first + i * size microns.

    The origin is the middle of the slide's first pixel, of m microns.
    """
    rows, cols = (first + np.arange(side) * size for side in values.shape)
    x, y = np.meshgrid(cols / m + 0.5, rows / m + 0.5)
    return near(values, x, y, centre)


QUICK = {("tiff", 5.3), ("scn", 4.0), ("mirax", 7.9)}
CASES = [
    pytest.param(kind, scale, marks=[] if (kind, scale) in QUICK else pytest.mark.slow)
    for kind in ("tiff", "scn", "mirax")
    for scale in (4.0, 5.3, 7.9)
]


@pytest.mark.parametrize(("kind", "scale"), CASES)
def test_every_map_of_a_run_lies_on_the_squares(ats: Run, tmp_path: Path, kind: str, scale: float) -> None:
    place, model, run = place_of(kind, tmp_path), bright_model(tmp_path / "model", scale), tmp_path / "run"
    folder = run / "slides" / "slide"
    call = ["predict", place.path, "-m", model, "-o", run, "--exhaustive", "--geojson"]
    assert ats(*call, "--attention", "ome-tiff")[0] == 0
    assert ats(*call, "--attention", "ome-zarr")[0] == 0
    picture = tmp_path / "map.png"
    options = ["--format", "png-map", "--colormap", "gray", "--scale", "linear", "--max-size", 500]
    assert ats("heatmap", run, "-o", picture, *options)[0] == 0
    record = json.loads((folder / "prediction.json").read_text())
    m, pitch, (width, height) = record["mpp"], record["pitch"], record["size"]
    bounds = record["bounds"] or (0, 0, width, height)

    with tifffile.TiffFile(folder / "attention.ome.tiff") as tiff:
        pixels = ome_types.from_xml(tiff.ome_metadata).images[0].pixels
        values = tiff.asarray()
    of_zarr = zarr.open_group(folder / "attention.ome.zarr", mode="r")
    (image,) = of_zarr.attrs["ome"]["multiscales"]
    steps = {step["type"]: step[step["type"]] for step in image["datasets"][0]["coordinateTransformations"]}
    shown = np.asarray(Image.open(picture).convert("RGBA"))
    assert shown.shape[:2] == (round(500 * height / max(width, height)), round(500 * width / max(width, height)))
    lit = shown[..., 0] * (shown[..., 3] > 0).astype(float)
    y, x = np.indices(lit.shape)
    zoom = max(width, height) / 500
    tiles = json.loads((folder / "tiles.geojson").read_text())["features"][1:]
    middles = np.array([shape(tile["geometry"]).centroid.coords[0] for tile in tiles]) + np.array(bounds[:2])
    attention = np.array([tile["properties"]["measurements"]["attention"] for tile in tiles])

    for centre in place.centres():
        found = {
            "ome-tiff": of_grid(values, pixels.physical_size_x, pixels.planes[0].position_x, m, centre),
            "ome-zarr": of_grid(of_zarr["0"][:], steps["scale"][0], steps["translation"][0], m, centre),
            "png": near(lit, (x + 0.5) * zoom, (y + 0.5) * zoom, centre),
            "geojson": near(attention, middles[:, 0], middles[:, 1], centre),
        }
        for name, (at_x, at_y) in found.items():
            assert abs(at_x - centre[0]) <= pitch / 2 and abs(at_y - centre[1]) <= pitch / 2, (name, at_x, at_y, centre)
