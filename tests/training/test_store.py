"""Slides at hand while training: what is kept stays within its bound, and a bound changes nothing that is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import SPEC, noise, small_spec, write_slide

from ats_cli.errors import SlideError
from ats_cli.nets.geometry import geometry_on
from ats_cli.slides import open_slide
from ats_cli.training import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore


@pytest.fixture
def slides(tmp_path: Path) -> list[LabelledSlide]:
    """Half tiled, half plain images, which are decoded whole."""
    made = []
    for i in range(8):
        pixels = noise(100 + i, 80, seed=i)
        if i % 2:
            path = tmp_path / f"{i}.png"
            Image.fromarray(pixels).save(path)
        else:
            path = write_slide(tmp_path / f"{i}.tif", pixels)
        made.append(LabelledSlide(str(i), path, "a"))
    return made


ONE_VIEW = 25 * 20 * 4
ONE_IMAGE = 107 * 80 * 4


@pytest.mark.integration
@pytest.mark.parametrize("memory", [0, 3 * ONE_VIEW, 3 * ONE_IMAGE, 10**9])
def test_whatever_the_bound_the_same_is_seen(slides: list[LabelledSlide], memory: int) -> None:
    geometry = geometry_on(SPEC, None)
    boxes = geometry.boxes(np.array([0, 7, 103]), 20)
    store = SlideStore(SPEC, memory, threads=3)
    try:
        for batch in (slides[:3], slides[3:6], slides[2:5], [slides[7], slides[7]], slides):
            for labelled, view, patches in zip(
                batch, store.views(batch), store.read_tiles(batch, [boxes] * len(batch)), strict=True
            ):
                with open_slide(labelled.path) as direct:
                    assert np.array_equal(view.pixels, direct.read_view(4.0))
                    assert np.array_equal(patches.result(), list(direct.read_tiles(boxes, 16, fill=0)))
                assert view.geometry == geometry and view.allowed.all()
            cached = sum(one.pixels.nbytes + one.allowed.nbytes for one in store.cached_views.values())
            assert cached == store.cached_bytes <= memory
            assert len(store.open_slides) >= len(set(batch))
        store.views(slides[:1])
        resident = sum(one.resident_bytes for one in store.open_slides.values())
        assert resident <= max(memory, slides[0].path.stat().st_size * 2 + ONE_IMAGE)
        if memory == 10**9:
            assert len(store.cached_views) == len(store.open_slides) == 8
        if memory == 3 * ONE_VIEW:
            assert len(store.cached_views) in (2, 3)
    finally:
        store.close()
    assert not store.open_slides


def test_a_view_that_is_kept_is_not_read_again(slides: list[LabelledSlide]) -> None:
    store = SlideStore(SPEC, 10**9, threads=1)
    first = store.views(slides[:2])
    again = store.views(slides[:2])
    assert all(a is b for a, b in zip(first, again, strict=True))
    store.close()


def test_handles_are_not_hoarded(slides: list[LabelledSlide], monkeypatch: pytest.MonkeyPatch) -> None:
    from ats_cli.training.dataset import slide_store as module

    monkeypatch.setattr(module, "MAX_HANDLES", 2)
    monkeypatch.setattr("ats_cli.slides.slide.Slide.holds_handle", True)
    store = SlideStore(SPEC, 10**9, threads=1)
    for start in range(0, 8, 2):
        store.views(slides[start : start + 2])
        assert list(store.open_slides) == [s.slide_id for s in slides[start : start + 2]]
    store.views(slides[:3])
    assert len(store.open_slides) == 3, "a batch is never closed under one's hands"
    store.close()


def test_positions_off_the_tissue_are_not_allowed(tmp_path: Path) -> None:
    pixels = np.full((80, 80, 3), 250, np.uint8)
    paper = LabelledSlide("paper", write_slide(tmp_path / "paper.tif", pixels), "a")
    pixels[40:, 40:] = (150, 60, 140)
    stained = LabelledSlide("stained", write_slide(tmp_path / "stained.tif", pixels), "a")
    store = SlideStore(small_spec({"tissue_only": True}), 10**9, threads=1)
    (seen,) = store.views([stained])
    assert seen.allowed[10:, 10:].all() and not seen.allowed[:9, :9].any()
    with pytest.raises(SlideError, match=r"paper\.tif: no tissue found"):
        store.views([paper])
    store.close()


def test_what_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    store = SlideStore(replace(SPEC, unit="um"), 10**9, threads=1)
    slide = write_slide(tmp_path / "a.tif", noise(30, 30))
    with pytest.raises(SlideError, match=r"^a\.tif: no microns-per-pixel"):
        store.views([LabelledSlide("a", slide, "a")])
    assert store.views([LabelledSlide("b", slide, "a", mpp=0.5)])[0].geometry.view_downsample == 8
    with pytest.raises(SlideError, match=r"^gone\.tif"):
        store.views([LabelledSlide("c", tmp_path / "gone.tif", "a")])
    store.close()
