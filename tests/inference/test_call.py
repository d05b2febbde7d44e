"""`predict` from Python: what makes no sense is refused in a sentence, and nothing of the caller's process changes."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import noise, small_spec, write_model, write_slide

from ats_cli import load_model, open_slide, predict, prediction_dict
from ats_cli.errors import AtsError
from ats_cli.registry import SAMPLERS
from ats_cli.training import DataOptions, RecipeOptions, TrainOptions


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "a.tif", noise(300, 260))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model", small_spec())


@pytest.mark.parametrize(
    ("drawing", "says"),
    [
        ({"sampler": "Pivotal"}, "unknown sampler 'Pivotal'. Did you mean pivotal"),
        ({"sampler": "murty"}, "Did you mean murthy"),
        ({"sampler": "without_replacement"}, "Did you mean without-replacement"),
        ({"sampler": ""}, "unknown sampler ''"),
        ({"sampler": "x"}, "Choose one of pivotal"),
        ({"tiles": 0}, "tiles=0: a budget is 1 or more"),
        ({"tiles": -1}, "tiles=-1: a budget"),
        ({"tiles": 2.5}, "tiles=2.5: not a whole number"),
        ({"tiles": "4"}, "tiles='4': not a whole number"),
        ({"seed": 1.0}, "seed=1.0: not a whole number"),
        ({"confidence": 0}, "confidence=0: not a confidence"),
        ({"confidence": 95}, "confidence=95: not a confidence"),
        ({"confidence": 0.9, "sampler": "pivotal"}, "in race order"),
        ({"confidence": 0.9, "exhaustive": True}, "exhaustive reads every position"),
        ({"max_unreadable": float("nan")}, "max_unreadable=nan: not a share"),
        ({"precision": "x"}, "x: not a precision"),
    ],
)
def test_what_makes_no_sense_is_refused(slide: Path, model: Path, drawing: dict[str, Any], says: str) -> None:
    with pytest.raises(AtsError) as caught:
        predict(slide, model, **drawing)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_precision_is_refused_on_loading(model: Path) -> None:
    with pytest.raises(AtsError, match=r"--precision x: not a precision\. Choose fp32, bf16 or fp16"):
        load_model(model, precision="x")
    for device in ("gpu", "cuda:", "cuda:x", "cpu0", "auto", ""):
        with pytest.raises(AtsError, match="not a device"):
            load_model(model, device=device)
    loaded = load_model(model)
    wrong: dict[str, Any]
    for wrong in ({"device": "gpu"}, {"precision": "x"}, {"threads": 0}, {"tiles": "5"}):
        with pytest.raises(AtsError):
            predict("no such slide.tif", loaded, **wrong)
        with pytest.raises(AtsError):
            predict("no such slide.tif", model, **wrong)
    with pytest.raises(TypeError, match="this model is loaded"):
        predict("no such slide.tif", loaded, device="cpu")
    for wrong in ({"device": "gpu"}, {"precision": "auto"}, {"seed": 0.5}):
        with pytest.raises(AtsError):
            TrainOptions(**wrong)


def test_numbers_of_numpy_are_numbers(slide: Path, model: Path) -> None:
    given = {"tiles": 9, "confidence": 0.9, "max_unreadable": 0.25, "batch_size": 4, "threads": 2, "mpp": 0.5}
    kinds = {int: (np.int64, np.uint8), float: (np.float32, np.float64)}
    plain = prediction_dict(predict(slide, model, **given)) | {"seconds": None}
    for number in range(2):
        options = {name: kinds[type(value)][number](value) for name, value in given.items()} | {"confidence": 0.9}
        assert json.loads(json.dumps(prediction_dict(predict(slide, model, **options)))) | {"seconds": None} == plain
    made = TrainOptions(seed=np.int64(3), threads=np.int32(2)), DataOptions(validation=np.float32(0.25))
    recipe = RecipeOptions(epochs=np.float32(2), overrides={"lr": np.float32(0.5), "steps": np.int64(4), "net": "cnn"})
    assert [type(made[0].seed), type(made[1].validation), type(recipe.epochs)] == [int, float, float]
    assert json.dumps(dict(recipe.overrides)) == '{"lr": 0.5, "steps": 4, "net": "cnn"}'


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(
    sampler=st.sampled_from([None, *SAMPLERS]),
    kind=st.sampled_from([int, np.int64, np.int32, np.uint8, np.uint16]),
    tiles=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_integers_of_numpy_are_integers(
    slide: Path, model: Path, sampler: str | None, kind: Any, tiles: int, seed: int
) -> None:
    loaded = load_model(model)
    record = prediction_dict(predict(slide, loaded, tiles=kind(tiles), seed=kind(seed), sampler=sampler))
    plain = prediction_dict(predict(slide, loaded, tiles=tiles, seed=seed, sampler=sampler))
    assert json.loads(json.dumps(record))["probabilities"] == plain["probabilities"]
    assert (record["seed"], record["sampler"]) == (seed, sampler or "pivotal")
    assert predict(slide, loaded, confidence=0.9).sampling.sampler == "murthy"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One picture by codecs whose decoders give memory of their own, and memory of somebody else."""
    folder, options = tmp_path_factory.mktemp("slides"), {"tile": (64, 64), "photometric": "rgb", "metadata": None}
    for codec in ("jpeg", "zlib", "lzw", "jpeg2000", None):
        tifffile.imwrite(folder / f"{codec}.tif", noise(300, 260), compression=codec, **options)
    return sorted(folder.iterdir())


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(0, 4),
    boxes=st.lists(st.tuples(st.integers(-5, 80), st.integers(-5, 80)), min_size=2, max_size=8),
    size=st.sampled_from([16, 20, 33]),
    ratio=st.sampled_from([1, 1, 2]),
    threads=st.integers(1, 3),
)
def test_what_is_written_into_a_tile_changes_no_other(
    slides: list[Path], number: int, boxes: list[tuple[int, int]], size: int, ratio: int, threads: int
) -> None:
    wanted = [(x, y, size * ratio, size * ratio) for x, y in boxes]
    with open_slide(slides[number]) as opened:
        right = [tile.copy() for tile in opened.read_tiles(wanted, size, threads=threads)]
        tiles = opened.read_tiles(wanted, size, threads=threads)
        kept = []
        for tile, expected in zip(tiles, right, strict=True):
            assert np.array_equal(tile, expected)
            kept.append(tile)
            if tile.flags.writeable:
                tile[:] = 7
        for tile, expected in zip(kept, right, strict=True):
            assert np.array_equal(tile, np.full_like(expected, 7) if tile.flags.writeable else expected)


@pytest.mark.integration
def test_calls_that_overlap_leave_the_threads_of_torch_as_they_were(slide: Path, model: Path) -> None:
    loaded, before = load_model(model), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        barrier, tiles = threading.Barrier(3), {"first": 2, "second": 60, "third": 9}

        def call(name: str) -> None:
            barrier.wait()
            for _ in range(5):
                predict(slide, loaded, tiles=tiles[name])

        threads = [threading.Thread(target=call, args=(name,)) for name in tiles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_num_threads() == 3
        with pytest.raises(AtsError):
            predict(slide, loaded, tiles=0)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
