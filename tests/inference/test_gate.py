"""Prediction by a model with a gate: the ratio of gated sums, exact evidence, the same stops and continuations."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SPEC, damage, noise, random_nets, write_model, write_pyramid, write_slide

from ats_cli.app import run
from ats_cli.inference import predict_slide
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.records import HeadSpec, Prediction
from ats_cli.registry import SAMPLERS
from ats_cli.slides import open_slide
from ats_cli.tasks.multi_class import softmax
from ats_cli.zoo import LoadedModel, load_model

GATED = replace(SPEC, head=HeadSpec(gate=4))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    nets = random_nets(GATED)
    assert nets.gate is not None
    random = torch.Generator().manual_seed(1)
    for parameter in nets.gate.parameters():
        torch.nn.init.normal_(parameter, std=8.0, generator=random)  # gates from closed to open
    return LoadedModel(nets, GATED, "0" * 16, torch.device("cpu"))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("gate") / "slide.tif", noise(256, 320))


def predict(path: Path, model: LoadedModel, before: Any = None, **options: Any) -> Prediction:
    with open_slide(path) as opened:
        return predict_slide(opened, model, DrawOptions(max_unreadable=1.0, **options), before=before)


@pytest.fixture(scope="module")
def whole(slide: Path, model: LoadedModel) -> Prediction:
    return predict(slide, model, exhaustive=True)


@pytest.mark.integration
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_all_tiles_give_the_gated_mean_and_few_an_interval_that_holds_it(
    slide: Path, model: LoadedModel, whole: Prediction, sampler: str
) -> None:
    tiles = whole.tile_arrays
    assert tiles is not None and tiles.gate is not None and tiles.gate.min() < 0.1 and tiles.gate.max() > 0.9
    weights = tiles.attention * tiles.gate
    logits = weights @ tiles.terms / weights.sum() + tiles.bias
    np.testing.assert_allclose(whole.logits, logits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(whole.probabilities, softmax(logits), rtol=0, atol=1e-9)
    assert whole.low == pytest.approx(whole.probabilities) and whole.high == pytest.approx(whole.probabilities)
    held = []
    for seed in range(16):
        part = predict(slide, model, sampler=sampler, tiles=20, seed=seed)
        assert 1 <= part.sampling.effective_tiles <= 20  # type: ignore[operator]
        shares = np.sum([tile.shares for tile in part.drawn], axis=0)
        np.testing.assert_allclose(shares, np.array(part.logits) - tiles.bias, rtol=0, atol=1e-9)
        if sampler == "systematic":
            assert part.low is part.high is part.se_kind is None
            continue
        assert part.se_kind == "approximate" and part.low and part.high and part.probabilities
        assert all(0 <= a <= p <= b <= 1 for a, p, b in zip(part.low, part.probabilities, part.high, strict=True))
        held.append(all(a <= p <= b for a, p, b in zip(part.low, whole.probabilities, part.high, strict=True)))  # type: ignore[arg-type]
    assert not held or np.mean(held) >= 0.8


@pytest.mark.integration
def test_a_race_that_is_extended_is_the_longer_one_and_damage_closes_a_gate(
    slide: Path, model: LoadedModel, tmp_path: Path
) -> None:
    short = predict(slide, model, sampler="murthy", tiles=15).tile_arrays
    extended = predict(slide, model, short, sampler="murthy", tiles=40)
    fresh = predict(slide, model, sampler="murthy", tiles=40)
    assert extended.logits == pytest.approx(fresh.logits) and extended.low == pytest.approx(fresh.low)
    copy = tmp_path / "slide.tif"
    copy.write_bytes(slide.read_bytes())
    tiles = predict(damage(copy, 6, 7), model, sampler="murthy", tiles=40).tile_arrays
    sound = fresh.tile_arrays
    assert tiles is not None and sound is not None and sound.gate is not None and not tiles.readable.all()
    assert tiles.gates == pytest.approx(sound.gate * tiles.readable)


@pytest.mark.integration
def test_what_is_settled_is_the_class_of_all_tiles(model: LoadedModel, tmp_path: Path) -> None:
    settled = 0
    for seed in range(8):
        path = write_slide(tmp_path / f"{seed}.tif", noise(128, 128, seed=seed))
        part = predict(path, model, confidence=0.8, tiles=200, seed=seed)
        if part.sampling.settled:
            settled += 1
            assert part.predicted == predict(path, model, exhaustive=True).predicted
    assert settled > 1


@pytest.mark.integration
def test_the_gate_is_stored_with_the_model_and_written_for_each_tile(slide: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", GATED)
    assert load_model(folder).nets.gate is not None
    assert run(["predict", str(slide), "-m", str(folder), "-o", str(tmp_path / "run"), "--tiles", "9"]) == 0
    with next((tmp_path / "run").rglob("tiles.csv")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    gates, weights = (np.array([float(row[key]) for row in rows]) for key in ("gate", "weight"))
    assert ((gates >= 0.01) & (gates <= 1)).all() and weights.sum() == pytest.approx(1)
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert all(float(row[f"low_{c}"]) < float(row[f"prob_{c}"]) < float(row[f"high_{c}"]) for c in GATED.classes)
    assert float(row["effective_tiles"]) == pytest.approx(1 / np.square(weights).sum())
