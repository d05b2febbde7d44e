"""An attention network on a frozen trunk: each copy of a slide goes through the trunk once."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import noise, small_spec, write_slide
from trainings import train_slides

from ats_cli.nets.model import Model, to_unit
from ats_cli.records import FeatureSpec, ModelSpec, WarmupSpec
from ats_cli.training import Callbacks, LabelledSlide, TrainOptions, train_model
from ats_cli.training.dataset.augment import NONE, Augmentation
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.loop.attention_source import attention_source
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.pretrained import load_pretrained
from ats_cli.training.warmup import uniform_tiles

ATTENTION: dict[str, Any] = {"net": "lite0", "stride": 8, "scale": 1.0, "blocks": 2}
STAINED = Augmentation(3, True, np.ones(3), stain=np.array([[1.1, 0.2, 0], [0, 0.9, -0.1], [0.1, 0, 1.2]]))


def lite_spec(**training: Any) -> ModelSpec:
    features = FeatureSpec(scale=1.0, patch_size=32, net="lite0", hidden=8)
    spec = small_spec(ATTENTION, {"lr_features": 0.0, "copies": 2, **training}, features=features, background=255)
    return replace(spec, tiles=3)


def pretrained(spec: ModelSpec) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = Model(spec)
    load_pretrained(nets)
    torch.nn.init.normal_(nets.attention.last.weight)  # type: ignore[union-attr, arg-type]
    return nets.eval()


@pytest.mark.parametrize("augmentation", [NONE, STAINED], ids=["", "stained"])
def test_its_logits_are_those_of_the_augmented_view(
    augmentation: Augmentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from the disk, where they are 16-bit numbers; the second time the trunk computes nothing."""
    monkeypatch.setattr("ats_cli.training.loop.attention_source.STRIP_PIXELS", 4000)  # several strips
    spec = lite_spec()
    nets = pretrained(spec)
    slide = LabelledSlide("a", write_slide(tmp_path / "a.tif", noise(136, 120)), "bright")
    with SlideStore(spec, 0, 1, ViewCache(tmp_path / "views.zarr", 10**9)) as store:
        view = store.views([slide])[0]
        found = attention_source(nets, store, slide, store.grid(slide), augmentation).all_logits()
        image = augmentation.apply(to_unit(torch.from_numpy(view.pixels)[None]))
        with torch.no_grad():
            expected = augmentation.undo(nets.attend(image))[0]
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
        monkeypatch.setattr(nets.attention.trunk, "forward", lambda _: 1 / 0)  # type: ignore[union-attr]
        again = attention_source(nets, store, slide, store.grid(slide), augmentation).all_logits()
        assert torch.equal(again, found)


def slides_with_spots(folder: Path, number: int) -> list[LabelledSlide]:
    """Slides of soft noise; every second one has a few dark squares, which are a thousandth of its label's area."""
    slides = []
    for i in range(number):
        rng = np.random.default_rng(i)
        pixels = (noise(320, 320, i) // 3 + 150).astype(np.uint8)
        if i % 2:
            for row, col in rng.integers(0, 9, (3, 2)) * 32:
                pixels[row : row + 32, col : col + 32, :] = rng.integers(0, 255, (32, 32, 1)) // 2
        path = write_slide(folder / f"{i}.tif", pixels)
        slides.append(LabelledSlide(str(i), path, ("bright", "dark")[i % 2]))
    return slides


@pytest.mark.integration
def test_a_resumed_training_ends_as_one_without_a_break(tmp_path: Path) -> None:
    spec = lite_spec(steps=4, batch_size=2, warmup=WarmupSpec(tiles=8, steps=3, attention_steps=3), flips=True)
    slides = slides_with_spots(tmp_path / "slides", 4)
    whole = train_slides(spec, slides, [])
    log = TrainingLog(tmp_path / "half", 1)
    (tmp_path / "half").mkdir()

    class Stopped(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train_slides(spec, slides, [], log=log, on_progress=stop)
    resumed = train_slides(spec, slides, [], log=TrainingLog(tmp_path / "half", 1), resume=True)
    for name, tensor in whole.nets.state_dict().items():
        assert torch.equal(tensor, resumed.nets.state_dict()[name]), name


@pytest.mark.integration
def test_the_warmup_points_the_attention_at_rare_evidence(tmp_path: Path) -> None:
    """Three squares of a hundred: before any tile is drawn from it, the attention holds several times their area."""
    slides = slides_with_spots(tmp_path / "slides", 24)
    messages: list[str] = []
    spec = lite_spec(
        steps=1, warmup=WarmupSpec(tiles=49, steps=150, attention_steps=150, lr=3e-3, starts=2), lr_attention=1e-9
    )
    trained = train_slides(spec, slides, [], on_message=messages.append)
    assert any("tiles anywhere on each slide" in message and "accuracy" in message for message in messages)
    held = []
    with SlideStore(spec, 10**9, 1) as store:
        for slide in slides[1::2]:
            view = store.views([slide])[0]
            with torch.no_grad():
                logits = trained.nets.attend(to_unit(torch.from_numpy(view.pixels)[None]))[0]
            attention = logits.flatten().softmax(0)
            dark = (view.pixels.mean(2) < 128)[: 8 * logits.shape[0] : 8, : 8 * logits.shape[1] : 8]
            held.append((float(attention[torch.from_numpy(dark.flatten())].sum()), dark.mean()))
    shares, areas = np.mean(held, axis=0)
    assert shares > 4 * areas


def test_ctrl_c_in_the_warmup_keeps_what_was_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call with resume encodes the other slides only, and ends as one that was not interrupted."""
    spec = lite_spec(steps=2, batch_size=2, warmup=WarmupSpec(tiles=8, steps=3, starts=1, attention_steps=3))
    slides = slides_with_spots(tmp_path / "slides", 5)
    whole = train_slides(spec, slides, [])
    cache, folder = ViewCache(tmp_path / "run" / "views.zarr", 10**9), tmp_path / "run"

    def stop(message: str) -> None:
        if "encoding 8 tiles of each of 5 slides" in message:  # after the third
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_model(
            spec, slides, [], TrainOptions(), log=TrainingLog(folder), cache=cache, callbacks=Callbacks(on_message=stop)
        )
    encoded: list[int] = []
    encode = uniform_tiles.encode_frozen
    monkeypatch.setattr(uniform_tiles, "encode_frozen", lambda *given: encoded.append(1) or encode(*given))
    log = TrainingLog(folder)
    resumed = train_model(spec, slides, [], TrainOptions(resume=True), log=log, cache=cache)
    assert len(encoded) == 2
    for name, tensor in whole.nets.state_dict().items():
        assert torch.equal(tensor, resumed.nets.state_dict()[name]), name


def test_what_was_encoded_elsewhere_is_not_used(tmp_path: Path) -> None:
    """With other positions, as of other regions or another stride, tiles are encoded anew."""
    (slide,) = slides_with_spots(tmp_path / "slides", 1)
    cache, found = ViewCache(tmp_path / "views.zarr", 10**9), {}
    for stride in (8, 16):
        spec = lite_spec(warmup=WarmupSpec(tiles=5))
        spec = replace(spec, attention=replace(spec.attention, stride=stride))
        with SlideStore(spec, 0, 1, cache) as store:
            (tiles,) = uniform_tiles.encode_uniform_tiles(pretrained(spec), store, [slide], 0, False)
        with SlideStore(spec, 0, 1) as store:
            (anew,) = uniform_tiles.encode_uniform_tiles(pretrained(spec), store, [slide], 0, False)
        assert np.array_equal(tiles.positions, anew.positions) and np.array_equal(tiles.encoded, anew.encoded)
        found[stride] = tiles.encoded
    assert not np.array_equal(found[8], found[16])


def test_a_fold_is_held_out_from_the_warmup_too(tmp_path: Path) -> None:
    """Whatever is held out, its weights are the same; without folds the best start is that of the validation."""
    slides = slides_with_spots(tmp_path / "slides", 8)
    warmup = WarmupSpec(tiles=8, steps=3, starts=8, attention_steps=1, lr=1e-2)
    spec = lite_spec(steps=1, batch_size=2, warmup=warmup)

    def head(held_out: list[LabelledSlide], choose_best: bool) -> torch.Tensor:
        return train_slides(spec, slides[:4], held_out, choose_best=choose_best).nets.head.weight

    bright, dark = ([replace(slide, label=label) for slide in slides[4:]] for label in ("bright", "dark"))
    assert torch.equal(head(bright, False), head(dark, False))
    assert not torch.equal(head(bright, True), head(dark, True))
