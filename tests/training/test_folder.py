"""What `ats train` reads and writes around the loop: bad slides, folds, imbalance, several labels, numbers."""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from small import small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.app import run
from ats_cli.errors import AtsError
from ats_cli.inference import predict_many
from ats_cli.slides import OpenOptions, SlideSource, open_slide, parse_plane
from ats_cli.training import LabelledSlide
from ats_cli.training.dataset.order import BatchOrder
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.task import baseline_loss, slide_weights
from ats_cli.training.train import TrainingProgress
from ats_cli.zoo import load_model, save_model

pytestmark = pytest.mark.integration

SPEC = small_spec({"prior": "none", "channels": (8, 8)}, {"lr": 0.01, "steps": 4, "batch_size": 4}, tiles=6)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(12):
        label, light = (("bright", 250), ("dark", 10))[number % 2]
        write_slide(tmp_path / "data" / label / f"{number:02d}.tif", square(97, 83, 4 * number, 20, 30, light, 128))
    return tmp_path / "data"


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (write_model(tmp_path / "recipe", SPEC) / "weights.safetensors").unlink()
    return str(tmp_path / "recipe")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_slides_that_cannot_be_read_are_listed_before_training(data: Path, recipe: str, tmp_path: Path) -> None:
    (data / "dark" / "broken.tif").write_bytes(b"no slide")
    whole = data / "bright" / "00.tif"
    whole.write_bytes(whole.read_bytes()[:700])
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe, "output": tmp_path / "model"}
    steps: list[TrainingProgress] = []
    with pytest.raises(AtsError, match=r"2 of 13 slides cannot be read") as caught:
        train_into(on_progress=steps.append, **given)
    message = str(caught.value)
    assert "bright/00: 00.tif: " in message and "dark/broken: broken.tif: " in message and "--skip-bad" in message
    assert not steps and not (tmp_path / "model").exists()

    told: list[str] = []
    trained = train_into(skip_bad=True, on_message=told.append, **given)
    assert trained.metrics["train_slides"] + trained.metrics["validation_slides"] == 11
    assert "bright/00" in told[0] and set(trained.metrics["skipped"]) == {"bright/00", "dark/broken"}
    assert "2 slides could not be read" in (tmp_path / "model" / "README.md").read_text()
    used = {row["slide_id"] for row in rows(tmp_path / "model" / "split.csv")}
    assert len(used) == 11 and not used & {"bright/00", "dark/broken"}


def test_what_is_written_beside_a_model(data: Path, recipe: str, tmp_path: Path) -> None:
    output = tmp_path / "model"
    train_into(folder=data, manifest=None, recipe=recipe, output=output, seed=3, command="ats train x")
    history = rows(output / "history.csv")
    assert [int(row["step"]) for row in history] == [1, 2, 3, 4]
    assert float(history[-1]["lr"]) == pytest.approx(0.01 * 0.25 / 0.3) and history[-1]["validation_loss"]
    written = json.loads((output / "training.json").read_text())
    assert written["settings"]["seed"] == 3 and written["environment"]["command"] == "ats train x"
    assert written["environment"]["libraries"]["torch"]
    split = rows(output / "split.csv")
    assert {row["split"] for row in split} == {"train", "val"} and len(split) == 12
    assert not (output / "views.zarr").exists(), "views are kept while it trains"
    checkpoints = sorted(p.name for p in (output / "checkpoints").iterdir())
    assert checkpoints == ["best-4.safetensors", "last.safetensors"]
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx([float(r["loss"]) for r in history])


def test_folds_then_a_model_of_all_slides(data: Path, recipe: str, tmp_path: Path) -> None:
    output, told = tmp_path / "model", list[str]()
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe, "output": output}
    trained = train_into(folds=3, on_message=told.append, **given)
    assert trained.metrics["train_slides"] == 12 and trained.metrics["validation"] is None
    found = trained.metrics["cross_validation"]
    assert found["folds"] == 3 and len(found["accuracy_by_fold"]) == 3
    assert found["accuracy"] == pytest.approx(np.mean(found["accuracy_by_fold"]))
    assert sum(message.startswith("fold ") for message in told) == 3
    assert "Cross-validated, 3 folds" in (output / "README.md").read_text()
    held = [r["slide_id"] for k in "123" for r in rows(output / "folds" / k / "split.csv") if r["split"] == "val"]
    assert len(held) == len(set(held)) == 12
    assert load_model(output).spec.classes == ("bright", "dark")
    before = (output / "weights.safetensors").read_bytes()
    train_into(folds=3, resume=True, **given)
    assert (output / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("balance", ["weights", "draws"])
def test_imbalance(balance: str) -> None:
    """Nine of one class and one of the other count alike, and a slide's own weight counts within its class."""
    slides = [LabelledSlide(str(i), Path(f"{i}"), "rare" if i == 0 else "common") for i in range(10)]
    slides[9] = LabelledSlide("9", Path("9"), "common", weight=3.0)
    spec = small_spec(training={"balance": balance}, classes=("common", "rare"))
    weights = slide_weights(spec, slides)
    assert weights[0] == pytest.approx(weights[1:].sum()) and weights[9] == pytest.approx(3 * weights[1])
    assert baseline_loss(spec, slides) == pytest.approx(np.log(2))
    assert baseline_loss(small_spec(classes=("common", "rare")), slides[:9]) == pytest.approx(
        -(np.log(1 / 9) + 8 * np.log(8 / 9)) / 9
    )
    order = BatchOrder(10, 0, weights / weights.sum())
    drawn = [i for _ in range(1000) for i in order.next(spec.training)[0]]
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.5, abs=0.03)


def test_several_labels_are_learnt_each_for_itself(tmp_path: Path) -> None:
    """A bright square, a dark one, both or none."""
    lines = ["slide,label"]
    for number in range(24):
        pixels = square(97, 83, 5, 5, 0, 0, 128)
        labels = [name for bit, name in enumerate(("bright", "dark")) if number >> bit & 1]
        for name, light, x in (("bright", 250, 5), ("dark", 10, 45)):
            if name in labels:
                pixels[20:50, x : x + 30] = light
        pixels[0, 0] = number  # two equal slides would be one
        write_slide(tmp_path / f"{number}.tif", pixels)
        lines.append(f"{number}.tif,{';'.join(labels)}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    spec = small_spec({"prior": "none", "channels": (8, 8)}, {"lr": 0.01, "steps": 300, "batch_size": 8}, tiles=16)
    (write_model(tmp_path / "recipe", spec) / "weights.safetensors").unlink()
    trained = train_into(
        folder=None,
        manifest=tmp_path / "table.csv",
        recipe=str(tmp_path / "recipe"),
        output=tmp_path / "model",
        overrides={"task": "multi-label"},
        validation=0.25,
    )
    written = tomllib.loads((tmp_path / "model" / "model.toml").read_text())
    assert written["task"] == "multi-label" and written["classes"] == ["bright", "dark"]
    assert trained.metrics["validation"]["accuracy"] > 0.8
    model = load_model(tmp_path / "model")
    sources = [SlideSource(str(i), tmp_path / f"{i}.tif") for i in range(24)]
    found = list(predict_many(sources, model))
    right = [
        set((p.predicted or "").split(";")) - {""} == set(lines[i + 1].partition(",")[2].split(";")) - {""}
        for i, p in enumerate(found)
    ]
    assert np.mean(right) > 0.8
    for p in found:
        assert p.probabilities == pytest.approx(1 / (1 + np.exp(-np.array(p.logits))))
        if p.se is not None and p.logits_se is not None:
            slopes = np.array(p.probabilities) * (1 - np.array(p.probabilities))
            assert p.se == pytest.approx(slopes * p.logits_se)


def test_numbers_are_learnt_and_answered_in_their_own_units(tmp_path: Path) -> None:
    """The brightness of a square, as 1000 to 1250: a head that learnt around 0 answers around 1100."""
    slides = []
    for number in range(16):
        light = 10 + 15 * number
        path = write_slide(tmp_path / f"{number}.tif", square(97, 83, 20, 20, 50, light, 0))
        slides.append(LabelledSlide(str(number), path, str(1000 + light)))
    spec = small_spec(
        {"prior": "bright"}, {"lr": 0.01, "steps": 150, "batch_size": 8, "validate_every": 150}, tiles=12,
        task="regression", classes=("value",),
    )  # fmt: skip
    trained = train_slides(spec, slides, slides)
    assert trained.metrics["validation"]["loss"] < 0.3, "of a variance of 1"
    with SlideStore(spec, 10**9, 1) as store:
        from ats_cli.sampling import slide_rng
        from ats_cli.training.dataset.augment import NONE
        from ats_cli.training.loop.step import SlideRandomness, draw_tiles, forward_batch

        randomness = [SlideRandomness(NONE, slide_rng(0, s.path.name)) for s in slides]
        answers = forward_batch(trained.nets, draw_tiles(trained.nets, store, slides, randomness)).logits[:, 0]
    errors = answers.detach().numpy() - [float(s.label) for s in slides]
    assert np.sqrt(np.mean(errors**2)) < 50 and np.corrcoef(answers.detach(), range(16))[0, 1] > 0.8

    save_model(tmp_path / "model", trained.nets, {}, "# a card\n")
    options = ("-m", tmp_path / "model", "--device", "cpu", "-o", tmp_path / "run")
    assert run(["predict", *map(str, (*(s.path for s in slides), *options))]) == 0
    table = rows(tmp_path / "run" / "predictions.csv")
    assert list(table[0])[:7] == ["slide_id", "path", "status", "predicted", "value", "se_value", "se_kind"]
    values = np.array([float(row["value"]) for row in table])
    assert np.corrcoef(values, range(16))[0, 1] > 0.8 and 950 < values.min() < values.max() < 1350
    record = json.loads((tmp_path / "run" / "slides" / "3" / "prediction.json").read_text())
    assert record["task"] == "regression" and record["value"] == values[3] and record["probabilities"] is None
    tiles = rows(tmp_path / "run" / "slides" / "3" / "tiles.csv")
    assert {"value", "share_value"} < set(tiles[0]) and "prob_value" not in tiles[0]
    assert run(["predict", str(slides[0].path), "-m", str(tmp_path / "model"), "--device", "cpu", "--adaptive"]) == 1


def test_views_on_disk(tmp_path: Path) -> None:
    """What is kept is what is read; a changed file is another; it stays within its bound and may go at any time."""
    slides = [
        LabelledSlide(str(i), write_slide(tmp_path / f"{i}.tif", square(90, 80, 3 * i, 20, 30, 200)), "a")
        for i in range(3)
    ]
    size = 23 * 20 * 3
    cache = ViewCache(tmp_path / "views.zarr", max_bytes=2 * size)
    first = SlideStore(SPEC, 0, 2, cache).views(slides)
    kept = sorted(zarr.open_group(tmp_path / "views.zarr", mode="r").array_keys())
    assert len(kept) == 2 and cache.bytes_used == 2 * size
    assert ViewCache(tmp_path / "views.zarr", max_bytes=2 * size).bytes_used == 2 * size
    again = SlideStore(SPEC, 0, 2, cache).views(slides)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))
    at_hand = [i for i, s in enumerate(slides) if cache.get(s, 4.0) is not None]
    assert len(at_hand) == 2
    changed = slides[at_hand[0]]
    write_slide(changed.path, square(90, 80, 40, 5, 20, 90))
    assert cache.get(changed, 4.0) is None
    with open_slide(changed.path) as slide:
        assert np.array_equal(SlideStore(SPEC, 0, 1, cache).views([changed])[0].pixels, slide.read_view(4.0))
    cache.delete()
    assert cache.get(slides[1], 4.0) is None
    assert np.array_equal(SlideStore(SPEC, 0, 1, cache).views([slides[1]])[0].pixels, first[1].pixels)


def test_where_none_can_be_read_one_says_why(data: Path, tmp_path: Path) -> None:
    """Not a line for each of a thousand slides that lack the same."""
    with pytest.raises(
        AtsError, match=r"none of 12 slides can be read\. The first, bright/00: 00\.tif: .*--mpp"
    ) as caught:
        train_into(folder=data, manifest=None, recipe="tissue", output=tmp_path / "model")
    assert len(str(caught.value).splitlines()) == 1


def test_regions_from_a_folder(data: Path, recipe: str, tmp_path: Path) -> None:
    """The square's corner only: tiles are drawn there, and of the slide without a file from everywhere."""
    (tmp_path / "regions").mkdir()
    corner = {"type": "Polygon", "coordinates": [[[0, 0], [24, 0], [24, 24], [0, 24]]]}
    told: list[str] = []
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe, "roi": tmp_path / "regions"}
    with pytest.raises(AtsError, match=r"regions: no GeoJSON file is called like a slide\. .* need 00\.geojson"):
        train_into(output=tmp_path / "none", **given)
    for number in range(11):
        (tmp_path / "regions" / f"{number:02d}.geojson").write_text(json.dumps(corner))
    train_into(output=tmp_path / "model", on_message=told.append, **given)
    everywhere = f"1 of 12 slides have no regions in {given['roi']}, like dark/11: all of their tissue is drawn from."
    assert told.count(everywhere) == 1
    assert {row["slide_id"] for row in rows(tmp_path / "model/split.csv") if not row["roi"]} == {"dark/11"}
    one = LabelledSlide("a", data / "bright" / "00.tif", "bright", roi=tmp_path / "regions" / "00.geojson")
    with SlideStore(SPEC, 10**9, 1) as store:
        (view,) = store.views([one])
    assert view.allowed[:6, :6].all() and view.allowed.sum() == 36
    with pytest.raises(AtsError, match="nowhere: no such file or folder"):
        train_into(output=tmp_path / "other", **{**given, "roi": tmp_path / "nowhere"})


def test_epochs_are_steps_of_the_slides_there_are(data: Path, recipe: str, tmp_path: Path) -> None:
    """10 of 12 slides are learnt from, 4 a step: two epochs are five steps."""
    trained = train_into(folder=data, manifest=None, recipe=recipe, output=tmp_path / "model", epochs=2)
    assert (trained.metrics["train_slides"], trained.steps_done) == (10, 5)
    assert tomllib.loads((tmp_path / "model/model.toml").read_text())["training"]["steps"] == 5


def test_patience_ends_a_training_that_gets_no_better(data: Path, recipe: str, tmp_path: Path) -> None:
    """Without learning every validation is as good as the first: two more, and it ends; and going on stays there."""
    told: list[str] = []
    still: dict[str, Any] = {"lr": 0.0, "steps": 40, "patience": 2, "validate_every": 3}
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe, "overrides": still}
    trained = train_into(output=tmp_path / "model", on_message=told.append, **given)
    assert (trained.steps_done, trained.metrics["validation"]["step"], trained.interrupted) == (9, 3, False)
    assert told[-1] == "stopped after 9 steps: 2 validations were no better."
    assert train_into(output=tmp_path / "model", resume=True, **given).steps_done == 9
    with pytest.raises(AtsError, match="--patience needs validation slides"):
        train_into(output=tmp_path / "other", validation=0.0, **given)


def test_a_plane_is_learnt_from_and_kept_to(recipe: str, tmp_path: Path) -> None:
    """Two focal planes, black and with a square: which one is read decides what is seen, and a checkpoint knows it."""
    for number in range(8):
        picture = square(97, 83, 4 * number, 20, 30, (250, 10)[number % 2], 128)
        path = tmp_path / "data" / ("bright", "dark")[number % 2] / f"{number}.ome.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        stack = np.stack([np.zeros_like(picture), picture])
        tifffile.imwrite(path, stack, photometric="rgb", metadata={"axes": "ZYXS"}, tile=(64, 64), ome=True)
    spoken = ("train", str(tmp_path / "data"), "--recipe", recipe, "--device", "cpu", "-o", str(tmp_path / "model"))
    assert run([*spoken, "--plane", "z=1", "--backend", "tiff"]) == 0
    settings = json.loads((tmp_path / "model/training.json").read_text())["settings"]
    assert settings["reading"] == {"backend": "tiff", "plane": "z=1", "color_profile": None}
    assert run([*spoken, "--plane", "z=0", "--backend", "tiff", "--resume"]) == 2
    planes = [LabelledSlide(str(z), path, "bright", opening=OpenOptions(plane=parse_plane(f"z={z}"))) for z in (0, 1)]
    with SlideStore(SPEC, 10**9, 1, ViewCache(tmp_path / "views.zarr", 10**9)) as store:
        black, shown = store.views(planes)
        tiles = [read.result() for read in store.read_tiles(planes, [np.array([[0.0, 0.0, 16.0, 16.0]])] * 2)]
    assert black.pixels.max() == 0 and shown.pixels.max() > 100
    assert tiles[0].max() == 0 and tiles[1].max() > 100


def test_what_was_said_of_the_recipes_own_slides_is_not_said_of_others(data: Path, tmp_path: Path) -> None:
    recipe = write_model(tmp_path / "recipe", replace(SPEC, notice="Trained on ten slides of one hospital."))
    train_into(folder=data, manifest=None, recipe=str(recipe), output=tmp_path / "model")
    assert "one hospital" in (recipe / "model.toml").read_text()
    assert "one hospital" not in (tmp_path / "model" / "model.toml").read_text()
    assert "one hospital" not in (tmp_path / "model" / "README.md").read_text()
