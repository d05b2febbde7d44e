"""Going on with a race: what was read is not read again, and the answer is that of a longer race from the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SPEC, noise, random_model, write_slide

from ats_cli.errors import SlideError
from ats_cli.inference import predict_slide
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.records import Prediction
from ats_cli.results.record import prediction_dict
from ats_cli.slides import Slide, open_slide

MODEL = random_model(SPEC)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "slide.tif", noise(151, 203))


@pytest.fixture
def boxes_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, ...]]:
    """Every box that is asked of a slide from here on."""
    read: list[tuple[float, ...]] = []
    honest = Slide.scan_tiles

    def counted(self: Slide, boxes: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        read.extend(map(tuple, np.asarray(boxes).tolist()))
        return honest(self, boxes, *arguments, **options)

    monkeypatch.setattr(Slide, "scan_tiles", counted)
    return read


def predict(path: Path, model: Any = MODEL, before: Any = None, **options: Any) -> Prediction:
    with open_slide(path) as opened:
        return predict_slide(opened, model, DrawOptions(**options), before=before)


def the_same(one: Prediction, other: Prediction) -> None:
    assert [(t.x, t.y) for t in one.drawn] == [(t.x, t.y) for t in other.drawn]
    a, b = prediction_dict(one), prediction_dict(other)
    for name in ("logits", "probabilities", "se", "logits_se", "attention_mass", "effective_positions"):
        assert a[name] == pytest.approx(b[name], rel=1e-6, abs=1e-6), name
    for name in ("predicted", "tiles", "positions", "se_kind", "settled", "sampler"):
        assert a[name] == b[name], name


def test_twenty_tiles_and_sixty_more_are_eighty(slide: Path, boxes_read: list[Any]) -> None:
    twenty = predict(slide, sampler="murthy", tiles=20)
    first = set(boxes_read)
    boxes_read.clear()
    extended = predict(slide, sampler="murthy", tiles=80, before=twenty.tile_arrays)
    assert len(boxes_read) == len(set(boxes_read)) == 60
    assert not first & set(boxes_read)
    the_same(extended, predict(slide, sampler="murthy", tiles=80))


@pytest.mark.integration
def test_to_the_last_position_it_is_exact(slide: Path) -> None:
    some = predict(slide, sampler="murthy", tiles=7)
    extended = predict(slide, sampler="murthy", tiles=10_000, before=some.tile_arrays)
    assert extended.sampling.tiles == extended.sampling.positions
    assert extended.se == (0, 0)
    the_same(extended, predict(slide, sampler="murthy", tiles=10_000))


def test_with_nothing_new_nothing_is_read(slide: Path, boxes_read: list[Any]) -> None:
    twenty = predict(slide, sampler="murthy", tiles=20)
    boxes_read.clear()
    the_same(predict(slide, sampler="murthy", tiles=20, before=twenty.tile_arrays), twenty)
    assert boxes_read == []


def test_an_adaptive_race_that_was_not_settled_goes_on(slide: Path, boxes_read: list[Any]) -> None:
    short = predict(slide, confidence=0.95, tiles=10)
    assert short.sampling.settled is False
    boxes_read.clear()
    extended = predict(slide, confidence=0.95, tiles=2000, before=short.tile_arrays)
    assert len(boxes_read) == (extended.sampling.tiles or 0) - 10
    the_same(extended, predict(slide, confidence=0.95, tiles=2000))


def test_arrivals_as_good_as_equal_may_change_places(slide: Path) -> None:
    kept = predict(slide, sampler="murthy", tiles=20).tile_arrays
    assert kept is not None
    order = np.arange(20)
    order[[4, 5]] = 5, 4
    swapped = replace(kept, positions=kept.positions[order], terms=kept.terms[order])
    the_same(predict(slide, sampler="murthy", tiles=80, before=swapped), predict(slide, sampler="murthy", tiles=80))


def test_another_file_another_seed_or_another_model_is_not_gone_on_with(slide: Path, tmp_path: Path) -> None:
    kept = predict(slide, sampler="murthy", tiles=20).tile_arrays
    write_slide(slide, noise(151, 203, seed=1))
    with pytest.raises(SlideError, match=r"^slide\.tif: its attention differs from that of.*--overwrite\.$"):
        predict(slide, sampler="murthy", tiles=80, before=kept)
    write_slide(slide, noise(151, 203))
    for otherwise in ({"seed": 1}, {"model": random_model(SPEC, seed=1)}, {"sampler": "pivotal"}):
        with pytest.raises(SlideError, match="its attention differs from that of its first tiles"):
            predict(slide, **{"sampler": "murthy", **otherwise}, tiles=80, before=kept)
    assert predict(slide, sampler="murthy", tiles=80, before=kept).sampling.tiles == 80
