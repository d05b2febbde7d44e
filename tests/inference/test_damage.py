"""Slides of which not all can be read: what is left is used for what it is worth, and it is said what was lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SPEC, damage, noise, random_model, small_spec, write_pyramid, write_slide

from ats_cli.app import run
from ats_cli.errors import SlideError
from ats_cli.inference import attention_map, predict_many, predict_slide
from ats_cli.inference import attention_pass as look
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.records import Prediction
from ats_cli.registry import SAMPLERS
from ats_cli.results.record import prediction_dict
from ats_cli.sampling import Draw
from ats_cli.sampling.ratio import ratio_standard_error
from ats_cli.slides import SlideSource, open_slide
from ats_cli.tasks.multi_class import softmax

MODEL = random_model(SPEC)
BIAS = MODEL.nets.head.bias.double().numpy()


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """5 x 4 native tiles of 64 pixels; the view is taken from the second level."""
    return write_pyramid(tmp_path / "slide.tif", noise(256, 320))


def predict(
    path: Path, model: Any = MODEL, max_unreadable: float = 1.0, before: Any = None, **options: Any
) -> Prediction:
    with open_slide(path) as opened:
        return predict_slide(opened, model, DrawOptions(max_unreadable=max_unreadable, **options), before=before)


def attention(path: Path, model: Any = MODEL) -> np.ndarray:
    with open_slide(path) as opened:
        return attention_map(opened, model).values


def on(boxes: np.ndarray, *tiles: int) -> np.ndarray:
    """Which boxes touch these native tiles of the slide."""
    touched = np.zeros(len(boxes), bool)
    for tile in tiles:
        x, y = tile % 5 * 64, tile // 5 * 64
        inside = (boxes[:, 0] < x + 64) & (boxes[:, 0] + boxes[:, 2] > x)
        touched |= inside & (boxes[:, 1] < y + 64) & (boxes[:, 1] + boxes[:, 3] > y)
    return touched


@pytest.mark.integration
@pytest.mark.parametrize("how", [*({"sampler": s, "tiles": 40} for s in SAMPLERS), {"exhaustive": True}])
def test_drawn_tiles_that_cannot_be_read_leave_the_ratio_over_the_others(slide: Path, how: dict[str, Any]) -> None:
    sound = predict(slide, **how).tile_arrays
    assert sound is not None and sound.readable.all()
    found = predict(damage(slide, 6, 7, 13), **how)
    kept = found.tile_arrays
    assert kept is not None and np.array_equal(kept.positions, sound.positions), "the same draw"
    readable = ~on(sound.boxes, 6, 7, 13)
    assert np.array_equal(kept.readable, readable) and 0 < readable.sum() < len(readable)
    assert found.sampling.tiles == len(readable) and found.sampling.tiles_unreadable == (~readable).sum()
    assert found.sampling.mass_unreadable == pytest.approx(sound.weights[~readable].sum())
    assert found.sampling.attention_mass == pytest.approx(sound.attention[readable].sum())

    w = sound.weights * readable
    expected = w @ sound.terms / w.sum() + BIAS
    np.testing.assert_allclose(found.logits, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.probabilities, softmax(expected), rtol=0, atol=1e-9)
    drawn = Draw(sound.positions, sound.attention, sound.weights, sound.draws, found.sampling.sampler or "")
    if "exhaustive" in how:
        assert found.se == found.logits_se == (0, 0)
        return
    se = ratio_standard_error(drawn, sound.terms, readable).se
    assert found.logits_se == (None if se is None else pytest.approx(se.tolist(), rel=1e-9))
    assert found.se_kind == (None if how["sampler"] == "systematic" else "approximate")
    # What is listed was read, and adds up.
    assert len(found.drawn) == readable.sum()
    np.testing.assert_allclose(np.sum([t.shares for t in found.drawn], 0), expected - BIAS, rtol=0, atol=1e-9)


@pytest.mark.integration
def test_where_the_view_cannot_be_read_nothing_is_drawn(tmp_path: Path) -> None:
    # One level: what is damaged is missing in the view too.
    path = write_slide(tmp_path / "slide.tif", noise(256, 320))
    sound = attention(path)
    found = predict(damage(path, 6, 7), tiles=10_000)
    seen = attention(path)
    lost = np.zeros_like(sound, bool)
    lost[16:32, 16:48] = True
    assert np.array_equal(seen == 0, lost)
    # Far from the damage attention is what it was, but for its sum.
    far = seen[48:] / sound[48:]
    assert far.max() / far.min() == pytest.approx(1, abs=1e-4)
    assert found.sampling.positions == (~lost).sum()
    # Tiles around it reach into it.
    assert found.tile_arrays is not None
    assert found.sampling.tiles_unreadable == on(found.tile_arrays.boxes, 6, 7).sum() > 0
    of_view = lost.mean()
    assert found.sampling.mass_unreadable == pytest.approx(
        of_view + (1 - of_view) * found.tile_arrays.attention[~found.tile_arrays.readable].sum()
    )


@pytest.mark.integration
@pytest.mark.parametrize("strip", [1, 3000, 10_000_000])
@pytest.mark.parametrize("stride", [1, 3])
def test_what_the_file_lacks_is_background(
    slide: Path, strip: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(small_spec({"stride": stride}))
    before = attention(slide, model)
    monkeypatch.setattr(look, "STRIP_PIXELS", strip)
    absent = 0, 1, 2, 3, 4, 8, 9, 13, 14
    found = predict(damage(slide, *absent, absent=True), model, tiles=10_000, max_unreadable=0)
    after = attention(slide, model)
    rows, cols = np.indices(before.shape).reshape(2, -1)
    corners = np.floor((np.stack([cols, rows], 1) + 0.5) * 4 * stride - 8 + 0.5)
    there = on(np.concatenate([corners, np.full((len(rows), 2), 16)], 1), *set(range(20)) - set(absent))
    assert np.array_equal(after.ravel() > 0, there)
    np.testing.assert_allclose(after.ravel()[there], before.ravel()[there] / before.ravel()[there].sum(), rtol=1e-4)
    assert found.sampling.tiles == found.sampling.positions == there.sum()
    assert found.sampling.tiles_unreadable == found.sampling.mass_unreadable == 0


def test_a_file_that_holds_nothing_says_so(slide: Path) -> None:
    damage(slide, *range(20), absent=True)
    with pytest.raises(SlideError, match=r"^slide\.tif: its index has none of its tiles"):
        predict(slide)


def test_too_much_damage_is_a_failed_slide_with_the_place_and_the_way_out(slide: Path) -> None:
    damage(slide, 6, 7, 13)
    lost = predict(slide, tiles=40).sampling.mass_unreadable or 0
    assert lost > 0.05
    (failed,) = predict_many([SlideSource("a", slide)], MODEL, tiles=40)
    assert failed.status == "failed"
    said = (
        rf"^slide\.tif: tile at x \d+, y \d+ of level 0 is damaged.* About {lost:.1%} of the attention .* 5\.0%\. Copy"
    )
    with pytest.raises(SlideError, match=said) as caught:
        predict(slide, tiles=40, max_unreadable=0.05)
    assert str(caught.value) == failed.error
    # What it advises to do works.
    advised = float(str(caught.value).rstrip(".").rpartition(" ")[2])
    assert predict(slide, tiles=40, max_unreadable=advised).status == "ok"


@pytest.mark.integration
@pytest.mark.parametrize("how", [{"tiles": 3}, {"exhaustive": True}, {"confidence": 0.95}])
def test_nothing_readable_is_a_sentence(slide: Path, how: dict[str, Any]) -> None:
    damage(slide, *range(20))
    with pytest.raises(SlideError, match=r"^slide\.tif: tile at .* None of the \d+ tiles drawn can be read\."):
        predict(slide, **how)


def test_a_view_of_which_nothing_is_readable_is_a_sentence(tmp_path: Path) -> None:
    path = damage(write_slide(tmp_path / "slide.tif", noise(256, 320)), *range(20))
    with pytest.raises(SlideError, match=r"^slide\.tif: tile at .* No tile may be drawn"):
        predict(path)


@pytest.mark.integration
@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("how", [{"sampler": "murthy"}, {"confidence": 0.999999}])
def test_going_on_with_a_race_is_the_longer_race(slide: Path, tmp_path: Path, repaired: bool, how: Any) -> None:
    sound = shutil.copy(slide, tmp_path / "sound.tif")
    short = predict(damage(slide, 6, 7, 13), tiles=20, **how)
    assert (short.sampling.tiles_unreadable or 0) > 0
    if repaired:
        shutil.copy(sound, slide)
    extended, fresh = predict(slide, tiles=60, before=short.tile_arrays, **how), predict(slide, tiles=60, **how)
    assert (fresh.sampling.tiles_unreadable == 0) == repaired
    a, b = prediction_dict(extended), prediction_dict(fresh)
    for name in ("logits", "probabilities", "se", "logits_se", "mass_unreadable"):
        assert a[name] == pytest.approx(b[name], rel=1e-6, abs=1e-9), name
    for name in ("se_kind", "tiles", "tiles_unreadable"):
        assert a[name] == b[name], name


@pytest.mark.integration
def test_an_adaptive_run_stops_no_earlier_over_damage(slide: Path) -> None:
    model = random_model(small_spec(head_scale=0.5), seed=3)
    sound = predict(slide, model, confidence=0.9, tiles=3000)
    found = predict(damage(slide, 6, 7), model, confidence=0.9, tiles=3000)
    assert sound.sampling.settled and found.sampling.tiles_unreadable
    assert (found.sampling.tiles or 0) >= (sound.sampling.tiles or 0)
    assert found.predicted == sound.predicted or not found.sampling.settled


@pytest.mark.integration
def test_a_map_too_large_by_a_wrong_mpp_names_the_mpp(capfd: pytest.CaptureFixture[str]) -> None:
    """Nanometres, 250, in place of microns, 0.25."""
    digits = Path(__file__).parents[2] / "examples/digits.tif"
    assert run(["predict", str(digits), "-m", "colon-epithelium", "--mpp", "250", "--processes", "0"]) == 1
    assert "positions at 250 microns per pixel, more than" in capfd.readouterr().err


def test_a_map_too_large_for_memory_is_left_to_the_race(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "MAX_MAP_POSITIONS", 5119)
    with pytest.raises(SlideError, match=r"^slide\.tif: its attention map has 5,120 positions.* --sampler murthy"):
        predict(slide)
    assert predict(slide, sampler="murthy").status == predict(slide, confidence=0.95).status == "ok"
    monkeypatch.setattr(look, "MAX_ROW_PIXELS", 300)
    with pytest.raises(SlideError, match=r"^slide\.tif: its low-resolution view would be 80 x 64 pixels, too wide"):
        predict(slide, sampler="murthy")
