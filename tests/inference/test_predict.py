"""One slide, one prediction: the figures add up, and nothing beside the slide changes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SPEC, noise, random_model, small_spec, write_slide

from ats_cli.errors import SlideError
from ats_cli.inference import attention_map, predict_many, predict_slide
from ats_cli.inference.attention_pass import AttentionPass
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.nets.model import to_unit
from ats_cli.records import Prediction
from ats_cli.registry import SAMPLERS
from ats_cli.results.record import prediction_dict
from ats_cli.slides import SlideSource, open_slide

MODEL = random_model(SPEC)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "slide.tif", noise(151, 203))


def predict(path: Path, model: Any = MODEL, **options: Any) -> Prediction:
    with open_slide(path) as opened:
        return predict_slide(opened, model, DrawOptions(**options))


def close(one: Prediction, other: Prediction) -> None:
    """The same tiles, and the same figures but for the last bits."""
    assert [(t.x, t.y, t.draws) for t in one.drawn] == [(t.x, t.y, t.draws) for t in other.drawn]
    assert one.predicted == other.predicted
    figures = prediction_dict(one), prediction_dict(other)
    for name in ("logits", "probabilities", "attention_mass", "effective_positions"):
        assert figures[0][name] == pytest.approx(figures[1][name], rel=1e-6, abs=1e-6), name
    for a, b in zip(one.drawn, other.drawn, strict=True):
        assert (*a.shares, *a.probabilities, a.weight) == pytest.approx(
            (*b.shares, *b.probabilities, b.weight), rel=1e-6, abs=1e-6
        )


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_the_figures_add_up(slide: Path, sampler: str) -> None:
    found = predict(slide, sampler=sampler, tiles=7)
    assert found.status == "ok" and found.error is None
    assert found.sampling.sampler == sampler
    assert found.sampling.tiles == len(found.drawn) <= 7
    assert sum(tile.draws for tile in found.drawn) == 7
    assert found.probabilities is not None and found.logits is not None
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-12)
    assert found.predicted == SPEC.classes[int(np.argmax(found.probabilities))]
    exp = np.exp(found.logits)
    assert found.probabilities == pytest.approx(exp / exp.sum())

    bias = MODEL.nets.head.bias.double().numpy()
    shares = np.array([tile.shares for tile in found.drawn])
    np.testing.assert_allclose(shares.sum(0), np.array(found.logits) - bias, rtol=0, atol=1e-9)
    for tile in found.drawn:
        own = np.exp(np.array(tile.shares) / tile.weight + bias)
        assert tile.probabilities == pytest.approx(own / own.sum(), rel=1e-6)
        assert sum(tile.probabilities) == pytest.approx(1, abs=1e-12)
    assert found.sampling.attention_mass == pytest.approx(sum(tile.attention for tile in found.drawn))
    assert found.sampling.positions == 38 * 51
    assert 1 <= (found.sampling.effective_positions or 0) <= found.sampling.positions
    assert found.cost.bytes_total == slide.stat().st_size and (found.cost.bytes_read or 0) > 0
    assert set(found.cost.seconds or {}) == {"view", "attention", "read", "features", "total"}


def test_without_a_budget_it_is_the_model_s(slide: Path) -> None:
    assert predict(slide).sampling.tiles == SPEC.tiles


@pytest.mark.integration
@pytest.mark.parametrize("spec", [SPEC, small_spec({"stride": 2, "tissue_only": True, "scale": 5.3})])
@pytest.mark.parametrize("sampler", ["systematic", "without-replacement"])
def test_with_all_tiles_it_is_the_full_computation(tmp_path: Path, spec: Any, sampler: str) -> None:
    pixels = np.full((90, 70, 3), 250, np.uint8)
    pixels[20:70, 10:66] = noise(50, 56)
    model = random_model(spec)
    with open_slide(write_slide(tmp_path / "slide.tif", pixels)) as slide:
        found = predict_slide(slide, model, DrawOptions(tiles=10_000, sampler=sampler))
        attention = attention_map(slide, model)
        inside = np.flatnonzero(attention.values)
        boxes = AttentionPass(PredictionContext(slide, model)).geometry.boxes(inside, attention.values.shape[1])
        patches = np.stack(list(slide.read_tiles(boxes, 16, fill=0)))
    features = model.nets.embed(to_unit(torch.from_numpy(patches))).double().numpy()
    expected = (attention.values.ravel()[inside, None] * features).sum(0)
    exact = model.nets.logits(torch.from_numpy(expected).float()).double().numpy()
    assert found.sampling.tiles == found.sampling.positions == attention.positions == len(inside)
    assert found.sampling.attention_mass == pytest.approx(1)
    np.testing.assert_allclose(found.logits, exact, rtol=0, atol=2e-5)


@pytest.mark.integration
def test_a_few_tiles_estimate_what_all_of_them_say(slide: Path) -> None:
    exact = np.array(predict(slide, tiles=10_000).logits)
    for sampler in SAMPLERS:
        runs = np.array([predict(slide, tiles=3, sampler=sampler, seed=seed).logits for seed in range(60)])
        assert runs.std(0).min() > 0
        assert (np.abs(runs.mean(0) - exact) <= 5 * runs.std(0) / 60**0.5).all(), sampler


def test_the_same_slide_in_another_folder_gives_the_same_draw(slide: Path, tmp_path: Path) -> None:
    here = predict(slide)
    elsewhere = predict(write_slide(tmp_path / "else" / "where" / "slide.tif", noise(151, 203)))
    assert here.drawn == elsewhere.drawn
    assert here.logits == elsewhere.logits
    assert predict(slide, seed=1).drawn != here.drawn
    assert predict(write_slide(tmp_path / "other.tif", noise(151, 203))).drawn != here.drawn


def test_batches_and_threads_do_not_change_the_figures(slide: Path) -> None:
    usual = predict(slide, tiles=11)
    for options in ({"batch_size": 1}, {"batch_size": 4}, {"batch_size": 1000}, {"threads": 1}, {"threads": 9}):
        close(predict(slide, tiles=11, **options), usual)


def test_neighbours_and_their_order_do_not_change_the_figures(tmp_path: Path) -> None:
    sources = [
        SlideSource(f"s{i}", write_slide(tmp_path / f"s{i}.tif", noise(90 + 7 * i, 120 - 5 * i, seed=i)))
        for i in range(4)
    ]
    forwards = list(predict_many(sources, MODEL))
    backwards = list(predict_many(sources[::-1], MODEL))[::-1]
    assert [p.slide_id for p in forwards] == ["s0", "s1", "s2", "s3"]
    for one, other, source in zip(forwards, backwards, sources, strict=True):
        assert one.drawn == other.drawn and one.logits == other.logits
        close(one, predict(source.path))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 3)])
def test_the_smallest_slides_have_one_position_at_least(tmp_path: Path, shape: tuple[int, int]) -> None:
    found = predict(write_slide(tmp_path / "slide.tif", noise(*shape)))
    assert found.status == "ok"
    assert found.sampling.tiles == min(4, found.sampling.positions or 0)


def test_a_slide_without_tissue_is_a_sentence(tmp_path: Path) -> None:
    paper = write_slide(tmp_path / "paper.tif", np.full((99, 99, 3), 250, np.uint8))
    with pytest.raises(SlideError, match=r"^paper\.tif: no tissue found.*`ats info`.*\.$") as caught:
        predict(paper, random_model(small_spec({"tissue_only": True})))
    assert len(str(caught.value).splitlines()) == 1
    assert predict(paper).status == "ok", "a model that looks everywhere"


def test_microns_are_asked_for_only_by_a_model_in_microns(tmp_path: Path) -> None:
    without = write_slide(tmp_path / "without.tif", noise(99, 99))
    given = write_slide(tmp_path / "given.tif", noise(99, 99), mpp=0.5)
    microns = random_model(replace(SPEC, unit="um"))
    with pytest.raises(SlideError, match=r"^without\.tif: no microns-per-pixel in the file\. Give --mpp"):
        predict(without, microns)
    assert predict(without).provenance.mpp is None
    found = predict(given, microns)
    assert (found.provenance.mpp, found.sampling.positions) == (pytest.approx(0.5), 13 * 13)
    assert found.drawn[0].width == pytest.approx(32)
    (by_hand,) = predict_many([SlideSource("a", without, mpp=0.25)], microns)
    assert (by_hand.provenance.mpp, by_hand.provenance.mpp_source, by_hand.sampling.positions) == (0.25, "given", 7 * 7)


def test_a_bad_slide_in_the_middle_is_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = [SlideSource(name, write_slide(tmp_path / f"{name}.tif", noise(60, 60))) for name in ("a", "d")]
    bad = tmp_path / "b.svs"
    bad.write_bytes(b"II*\0 and then nothing")
    sources = [good[0], SlideSource("b", bad), SlideSource("c", tmp_path / "gone.tif"), good[1]]
    found = list(predict_many(sources, MODEL))
    assert [(p.slide_id, p.status) for p in found] == [("a", "ok"), ("b", "failed"), ("c", "failed"), ("d", "ok")]
    assert set(found[0].cost.seconds or {}) == {"open", "view", "attention", "read", "features", "total"}
    for failed, name in ((found[1], "b.svs"), (found[2], "gone.tif")):
        assert failed.error is not None and failed.error.startswith(f"{name}: ")
        assert failed.probabilities is None and failed.drawn == ()
        assert failed.model.hash == MODEL.hash


@pytest.mark.parametrize("error", [ZeroDivisionError("by\nnothing"), MemoryError(), OSError("the disk is gone")])
def test_what_no_one_foresaw_is_one_slide_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sources = [SlideSource(name, write_slide(tmp_path / f"{name}.tif", noise(60, 60))) for name in "abc"]
    honest = predict_slide

    def sometimes(slide: Any, *arguments: Any, **options: Any) -> Prediction:
        if slide.path.name == "b.tif":
            raise error
        return honest(slide, *arguments, **options)

    monkeypatch.setattr("ats_cli.inference.executors.predict_task.predict_slide", sometimes)
    found = list(predict_many(sources, MODEL))
    assert [p.status for p in found] == ["ok", "failed", "ok"]
    assert (found[1].error or "").startswith("b.tif: ")
    assert len((found[1].error or "").splitlines()) == 1


def test_an_interrupt_is_no_failed_slide(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ats_cli.inference.executors.predict_task.predict_slide", stop)
    with pytest.raises(KeyboardInterrupt):
        list(predict_many([SlideSource("a", slide)], MODEL))
