"""What a training refuses, in a sentence, before it begins: numbers that are none, slides that were replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from small import noise, small_spec, square, write_model, write_slide
from trainings import train_into

from ats_cli.errors import AtsError, ModelError
from ats_cli.nets.model import Model
from ats_cli.records import FeatureSpec
from ats_cli.slides import RegionOptions
from ats_cli.training import LabelledSlide, labelled_slides
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.pretrained import load_matching, load_pretrained

SPEC = small_spec(training={"steps": 2, "batch_size": 4})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(6):
        pixels = square(97, 83, 5 * number, 20, 30, (250, 10)[number % 2], ground=128)
        write_slide(tmp_path / "data" / ("bright", "dark")[number % 2] / f"{number}.tif", pixels)
    return tmp_path / "data"


def recipe(folder: Path, **more: Any) -> str:
    (write_model(folder, small_spec(training={"steps": 2, "batch_size": 4}, **more)) / "weights.safetensors").unlink()
    return str(folder)


@pytest.mark.parametrize("name", ["lr", "lr_features"])
@pytest.mark.parametrize("value", [np.inf, np.nan, -1.0])
def test_rates_that_are_no_numbers_are_refused(data: Path, tmp_path: Path, name: str, value: float) -> None:
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe(tmp_path / "recipe")}
    with pytest.raises(AtsError, match=rf"training\.{name} must be 0 or more"):
        train_into(output=tmp_path / "model", overrides={name: value}, **given)
    assert not (tmp_path / "model").exists()


@settings(max_examples=12, deadline=None)
@given(st.data(), st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_weights_to_begin_with_are_finite_in_every_place(draw: st.DataObject, value: float) -> None:
    others = Model(SPEC)
    name, tensor = draw.draw(st.sampled_from(sorted(others.state_dict().items(), key=lambda item: item[0])))
    tensor.view(-1)[draw.draw(st.integers(0, tensor.numel() - 1))] = value
    with pytest.raises(ModelError, match=rf"--init: {name} has NaN or infinite values"):
        load_matching(Model(SPEC), others)


def test_pretrained_weights_are_finite(tmp_path: Path) -> None:
    nets = Model(SPEC)
    weights = {name: tensor.clone() for name, tensor in nets.features.backbone.state_dict().items()}
    name = sorted(weights)[-1]
    weights[name].view(-1)[-1] = torch.nan
    save_file(weights, tmp_path / "features.safetensors")
    features = FeatureSpec(
        scale=1.0, patch_size=16, channels=(4, 4, 4, 4), pretrained=str(tmp_path / "features.safetensors")
    )
    with pytest.raises(ModelError, match=rf"features\.safetensors: {name} has NaN or infinite values"):
        load_pretrained(Model(small_spec(features=features)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["5", "5.0", "05"], "all 3 slides have the same number, 5"),
        (["1", "2", "1e308"], "row 4: label '1e308' is too large for regression"),
        (["1", "nan", "2"], "row 3: .* has no label"),
        (["1", "2", "-inf"], "row 4: label '-inf' is not a number"),
    ],
)
def test_numbers_that_cannot_be_learnt(tmp_path: Path, labels: list[str], words: str) -> None:
    lines = [f"{write_slide(tmp_path / f'{i}.tif', noise(20, 20))},{label}" for i, label in enumerate(labels)]
    (tmp_path / "table.csv").write_text("\n".join(["slide,label", *lines]) + "\n")
    with pytest.raises(AtsError, match=words):
        labelled_slides(None, tmp_path / "table.csv", task="regression")


@pytest.mark.integration
def test_slides_without_tissue_are_listed_before_training(data: Path, tmp_path: Path) -> None:
    """As predictions refuse them."""
    attention = {"tissue_only": True, "prior": "dense"}
    (write_model(tmp_path / "recipe", small_spec(attention, {"steps": 2})) / "weights.safetensors").unlink()
    for number in range(6):
        stained = np.full((97, 83, 3), (150, 60 + number, 140), np.uint8)
        write_slide(data / ("bright", "dark")[number % 2] / f"{number}.tif", stained)
    write_slide(data / "dark" / "empty.tif", np.full((97, 83, 3), 250, np.uint8))
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": str(tmp_path / "recipe")}
    with pytest.raises(AtsError, match=r"1 of 7 slides cannot be read:\n  dark/empty: empty\.tif: no tissue found"):
        train_into(output=tmp_path / "model", **given)
    trained = train_into(output=tmp_path / "model", skip_bad=True, validation=0.0, **given)
    assert trained.metrics["train_slides"] == 6


def same_time(path: Path, write: Callable[[], object]) -> None:
    """Write a file anew, and give it the time that it had, as rsync and cp -p do."""
    before = path.stat()
    write()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.integration
def test_a_training_does_not_go_on_with_a_slide_that_was_replaced(data: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe(tmp_path / "recipe")}
    train_into(output=tmp_path / "model", **given)
    slide = data / "dark" / "3.tif"
    same_time(slide, lambda: slide.write_bytes(slide.read_bytes()))
    train_into(output=tmp_path / "model", resume=True, **given)
    same_time(slide, lambda: write_slide(slide, square(97, 83, 40, 40, 20, 10, ground=128)))
    with pytest.raises(AtsError, match=r"started with another file as dark/3\. Continue"):
        train_into(output=tmp_path / "model", resume=True, **given)


@pytest.mark.integration
def test_a_training_does_not_go_on_with_other_regions(data: Path, tmp_path: Path) -> None:
    """The same file with another content, another class of it, or another origin; nor with a class where none is."""
    roi = tmp_path / "r.geojson"

    def write(side: int) -> None:
        geometry = {"type": "Polygon", "coordinates": [[[0, 0], [side, 0], [side, side], [0, side]]]}
        properties = {"classification": "Tumor"}
        roi.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}))

    write(60)
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe(tmp_path / "recipe")}
    with pytest.raises(AtsError, match="--roi-class is about regions, and no slide has any"):
        train_into(output=tmp_path / "model", region_options=RegionOptions(("Tumor",)), **given)
    given |= {"output": tmp_path / "model", "roi": roi}
    train_into(**given)
    for other in (RegionOptions(("Tumor",)), RegionOptions(origin="level0")):
        with pytest.raises(AtsError, match=r"started without --roi-(class|origin), not with"):
            train_into(resume=True, region_options=other, **given)
    write(50)
    with pytest.raises(AtsError, match=r"started with .*regions"):
        train_into(resume=True, **given)
    write(60)
    train_into(resume=True, **given)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 3000), seed=st.integers(0, 9), what=st.sampled_from(["nothing", "chunk", "slide"]))
def test_a_view_on_disk_is_that_of_the_slide_or_none(
    tmp_path_factory: pytest.TempPathFactory, rows: int, seed: int, what: str
) -> None:
    """Where a chunk of it was deleted, or the slide was replaced by one of the same size and time, it is read anew."""
    folder = tmp_path_factory.mktemp("views")
    rng = np.random.default_rng(seed)
    slide = LabelledSlide("0", write_slide(folder / "0.tif", noise(16, 16, seed)), "a")
    view = rng.integers(0, 2, (rows, 5, 3), dtype=np.uint8) * rng.integers(0, 2, (rows, 1, 1), dtype=np.uint8)
    view[:1024] *= seed % 2  # a chunk may be black
    cache = ViewCache(folder / "views.zarr", 10**9)
    cache.put(slide, 4.0, view)
    if what == "chunk":
        chunks = sorted(path for path in (folder / "views.zarr").glob("*/c/**/*") if path.is_file())
        chunks[rng.integers(len(chunks))].unlink()
    if what == "slide":
        path = folder / "0.tif"
        same_time(path, lambda: path.write_bytes(path.read_bytes()[:-1] + b"\x01"))
    found = ViewCache(folder / "views.zarr", 10**9).get(slide, 4.0)
    if what == "nothing":
        assert found is not None and np.array_equal(found, view)
    else:
        assert found is None
