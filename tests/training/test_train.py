"""Training, on slides that take no time: it learns, it can be repeated and interrupted, and it keeps the best."""

from __future__ import annotations

import signal
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import noise, small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.errors import AtsError
from ats_cli.inference import predict_many
from ats_cli.records import ModelSpec
from ats_cli.slides import SlideSource
from ats_cli.training import LabelledSlide, labelled_slides, train
from ats_cli.training.loop import state, step
from ats_cli.training.train import TrainingProgress
from ats_cli.zoo import LoadedModel, load_model

SPEC = small_spec({"prior": "none", "channels": (8, 8)}, {"lr": 0.01, "steps": 30, "batch_size": 8}, tiles=6)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey canvases of 97 x 83 with one square somewhere, brighter or darker: eight of each."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for number in range(16):
        label, light = (("bright", 250), ("dark", 10))[number % 2]
        x, y = rng.integers(0, 50, 2).tolist()
        write_slide(folder / label / f"{number:02d}.tif", square(97, 83, x, y, 30, light, ground=128))
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[ModelSpec], str]:
    def write(spec: ModelSpec) -> str:
        folder = write_model(tmp_path / "recipe", spec)
        (folder / "weights.safetensors").unlink()
        return str(folder)

    return write


def weights(nets: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in nets.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.integration
def test_two_classes_are_learnt_in_a_few_steps(data: Path, recipe: Callable[[ModelSpec], str], tmp_path: Path) -> None:
    spec = small_spec({"prior": "none", "channels": (8, 8)}, {"lr": 0.01, "steps": 60, "batch_size": 8}, tiles=6)
    seen: list[TrainingProgress] = []
    trained = train_into(
        folder=data,
        manifest=None,
        recipe=recipe(spec),
        output=tmp_path / "squares",
        validation=0.25,
        command="ats train squares",
        on_progress=seen.append,
    )
    assert [p.step for p in seen] == list(range(1, 61))
    assert [p.step for p in seen if p.validation] == list(range(4, 61, 4))
    assert (trained.steps_done, trained.interrupted) == (60, False)
    assert trained.metrics["train_slides"] == 12 and trained.metrics["validation_slides"] == 4
    assert trained.metrics["validation"]["accuracy"] == 1

    model = load_model(tmp_path / "squares")
    assert (model.name, model.spec.classes) == ("squares", ("bright", "dark"))
    slides = labelled_slides(data, None)
    found = predict_many([SlideSource(s.slide_id, s.path) for s in slides], model)
    assert [p.predicted for p in found] == [s.label for s in slides]
    card = (tmp_path / "squares" / "README.md").read_text()
    assert "# squares" in card and "12 slides, 60 steps" in card and "ats train squares" in card


@pytest.mark.integration
def test_the_same_seed_gives_the_same_weights_to_the_bit(data: Path) -> None:
    slides = labelled_slides(data, None)
    spec = small_spec({"prior": "bright", "stride": 2}, {"flips": True, "colour_jitter": 0.2, "steps": 5})
    before = torch.random.get_rng_state()
    runs = [
        weights(train_slides(spec, slides[2:], slides[:2], seed=seed, memory=memory, threads=threads).nets)
        for seed, memory, threads in ((3, 10**9, 1), (3, 0, 4), (4, 10**9, 1))
    ]
    assert equal(runs[0], runs[1]), "how much is kept in memory, and by how many threads it is read, is no matter"
    assert not equal(runs[0], runs[2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.integration
def test_attention_stays_at_its_prior_while_it_is_frozen(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[torch.nn.Module] = []
    fresh = state.fresh_model

    def watched(*arguments: Any) -> Any:
        followed.append(fresh(*arguments))
        return followed[-1]

    monkeypatch.setattr(state, "fresh_model", watched)
    states: list[dict[str, torch.Tensor]] = []
    spec = small_spec(training={"steps": 8, "freeze": 0.5, "weight_decay": 0.1, "entropy_weight": 0.1})
    train_slides(spec, labelled_slides(data, None), [], on_progress=lambda _: states.append(weights(followed[0])))
    start = weights(fresh(spec, 0))
    for number, weights_then in enumerate(states, start=1):
        attention = all(torch.equal(weights_then[name], start[name]) for name in start if name.startswith("attention."))
        assert attention == (number <= 4), number
        assert not torch.equal(weights_then["head.weight"], start["head.weight"])


@pytest.mark.integration
def test_interrupted_it_writes_what_it_has(
    data: Path, recipe: Callable[[ModelSpec], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 15:
            signal.raise_signal(signal.SIGINT)

    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe(SPEC), "validation": 0.25}
    trained = train_into(output=tmp_path / "half", on_progress=stop, **given)
    assert trained.interrupted
    assert trained.steps_done == 15
    assert trained.metrics["validation"]["step"] <= 12
    assert equal(weights(load_model(tmp_path / "half").nets), weights(trained.nets))
    assert f"{trained.steps_done} steps" in (tmp_path / "half" / "README.md").read_text()

    # Before the first step, there is nothing to write.
    def at_once(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "draw_tiles", at_once)
    with pytest.raises(KeyboardInterrupt):
        train_into(output=tmp_path / "none", **given)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_holds_something_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    nothing: dict[str, Any] = {"folder": tmp_path / "no such data", "manifest": None, "recipe": "no such recipe"}
    for output in (tmp_path / "full", tmp_path / "file"):
        with pytest.raises(AtsError, match=rf"{output.name}: exists"):
            train_into(output=output, **nothing)
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    with pytest.raises(AtsError, match="no such recipe"):
        train_into(output=tmp_path / "empty", **nothing)


def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    data: Path, recipe: Callable[[ModelSpec], str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    steps: list[TrainingProgress] = []
    with pytest.raises(AtsError, match=r"model: cannot be written .*-o"):
        train_into(
            folder=data,
            manifest=None,
            recipe=recipe(SPEC),
            output=tmp_path / "file" / "model",
            on_progress=steps.append,
        )
    assert not steps


@pytest.mark.integration
def test_a_training_that_fails_leaves_no_folder(data: Path, recipe: Callable[[ModelSpec], str], tmp_path: Path) -> None:
    def fail(_: TrainingProgress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_into(folder=data, manifest=None, recipe=recipe(SPEC), output=tmp_path / "new", on_progress=fail)
    assert not (tmp_path / "new").exists()


@pytest.mark.integration
def test_a_model_is_called_as_its_folder_is(
    data: Path, recipe: Callable[[ModelSpec], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": recipe(SPEC), "overrides": {"steps": 1}}
    train_into(output=Path(), **given)
    assert load_model(tmp_path / "here").name == "here"
    train_into(output=Path("there"), name="another", **given)
    assert load_model("there").name == "another"


@pytest.mark.integration
def test_what_the_user_asks_for_goes_before_the_recipe(
    data: Path, recipe: Callable[[ModelSpec], str], tmp_path: Path
) -> None:
    asked = {"steps": 2, "lr": 0.5, "batch_size": 3, "sampler": "with-replacement", "tiles": 2}
    train_into(
        folder=data, manifest=None, recipe=recipe(SPEC), output=tmp_path / "a", overrides={**asked, "freeze": None}
    )
    written = tomllib.loads((tmp_path / "a" / "model.toml").read_text())
    assert written["tiles"] == 2
    assert {"tiles": 2} | {key: written["training"][key] for key in asked if key != "tiles"} == asked
    assert written["training"]["freeze"] == SPEC.training.freeze


@pytest.mark.integration
@pytest.mark.parametrize(
    ("losses", "best"), [([1.0, 0.5, 0.7], 8), ([0.5, 0.4, 0.3], 12), ([0.3, 0.3, 0.4], 4)], ids=["dip", "fall", "tie"]
)
def test_the_best_checkpoint_is_kept(
    data: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], best: int
) -> None:
    states: list[dict[str, torch.Tensor]] = []

    def validate(nets: torch.nn.Module, *_: Any, **__: Any) -> dict[str, float]:
        states.append(weights(nets))
        return {"accuracy": 0.9 - len(states) / 10, "loss": losses[len(states) - 1], "attention_mass": 0.1}

    monkeypatch.setattr(train, "validate", validate)
    slides = labelled_slides(data, None)
    trained = train_slides(small_spec(training={"steps": 12, "validate_every": 4}), slides, slides)
    assert trained.metrics["validation"]["step"] == best
    assert equal(weights(trained.nets), states[best // 4 - 1])
    assert not equal(states[0], states[2])
    assert not trained.nets.training
    assert "weights" not in trained.metrics["validation"]


@pytest.mark.integration
def test_validation_is_the_prediction_that_a_user_gets(data: Path, tmp_path: Path) -> None:
    """Other slides in the batch, or what was drawn in training, do not matter; the figures are those of predict."""
    slides = labelled_slides(data, None)
    seen: list[TrainingProgress] = []
    spec = small_spec(training={"steps": 1, "validate_every": 1, "lr": 0.0}, classes=("bright", "dark"))
    trained = train_slides(spec, slides, slides, on_progress=seen.append)
    model = LoadedModel(trained.nets.requires_grad_(False), spec, "", torch.device("cpu"))
    found = list(predict_many([SlideSource(s.slide_id, s.path) for s in slides], model, sampler="systematic"))
    figures = seen[-1].validation or {}
    loss = -np.mean(
        [np.log((p.probabilities or ())[p.classes.index(s.label)]) for p, s in zip(found, slides, strict=True)]
    )
    assert figures["loss"] == pytest.approx(loss, rel=1e-4)
    assert figures["accuracy"] == np.mean([p.predicted == s.label for p, s in zip(found, slides, strict=True)])
    assert figures["attention_mass"] == pytest.approx(np.mean([p.sampling.attention_mass for p in found]), rel=1e-4)


def test_a_loss_that_is_no_number_is_a_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = state.fresh_model

    def spoilt(*arguments: Any) -> Any:
        nets = fresh(*arguments)
        nets.head.weight.data.fill_(torch.nan)
        return nets

    monkeypatch.setattr(state, "fresh_model", spoilt)
    with pytest.raises(AtsError, match=r"no longer a number at step 1\. Lower --lr"):
        train_slides(SPEC, labelled_slides(data, None), [])


def test_slides_of_all_sizes_and_fewer_than_a_batch(tmp_path: Path) -> None:
    slides = [
        LabelledSlide(str(i), write_slide(tmp_path / f"{i}.tif", noise(20 + 31 * i, 90 - 25 * i)), "ab"[i % 2])
        for i in range(3)
    ]
    spec = small_spec({"stride": 3}, {"steps": 3, "batch_size": 7, "flips": True}, classes=("a", "b"), tiles=200)
    assert train_slides(spec, slides, slides[:1]).steps_done == 3
