"""A model knows a slide that is unlike those it was trained on; it reads no more for it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ats_cli.app import run
from ats_cli.errors import ModelError
from ats_cli.inference import predict_slide
from ats_cli.inference.out_of_distribution import add_out_of_distribution
from ats_cli.inference.slide_embedding import SlideEmbedding
from ats_cli.slides import SlideSource, open_slide
from ats_cli.zoo import load_model
from ats_cli.zoo.verify import verify
from tests.small import SPEC, noise, random_model, small_spec, write_model, write_slide

Run = Callable[..., tuple[int, str, str]]


def reddish(seed: int) -> np.ndarray:
    """Soft noise in reds: what the model is used to."""
    return (noise(96, 128, seed) * (1.0, 0.4, 0.3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights that was "trained" on reddish slides."""
    folder = tmp_path_factory.mktemp("familiar")
    paths = [write_slide(folder / f"{i}.tif", reddish(i)) for i in range(40)]
    model = write_model(folder / "model")
    found = add_out_of_distribution(
        model, [SlideSource(p.stem, p) for p in paths[:30]], [SlideSource("v", p) for p in paths[30:]]
    )
    assert found is not None and found.reference_slides == "30 training and 10 validation slides"
    return model


@pytest.fixture
def ats(capfd: pytest.CaptureFixture[str]) -> Run:
    def ats_(*arguments: object) -> tuple[int, str, str]:
        status = run([str(a) for a in arguments])
        return status, *capfd.readouterr()

    return ats_


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    write_slide(tmp_path / "slides/own.tif", reddish(100))
    write_slide(tmp_path / "slides/white.tif", np.full((96, 128, 3), 250, np.uint8))
    write_slide(tmp_path / "slides/blue.tif", reddish(101)[..., ::-1].copy())
    return tmp_path / "slides"


@pytest.mark.integration
def test_the_record_says_so(ats: Run, model: Path, slides: Path) -> None:
    status, out, err = ats("predict", slides, "-m", model, "--json")
    assert status == 0
    records = {record["slide_id"]: record for record in map(json.loads, out.splitlines())}
    assert {name: record["unfamiliar"] for name, record in records.items()} == {
        "own": False,
        "white": True,
        "blue": True,
    }
    for record in records.values():
        assert (record["unfamiliar_score"] > 1) == record["unfamiliar"]
        assert record["unfamiliar_to"] == "30 training and 10 validation slides"
        assert record["tiles"] == SPEC.tiles
    assert err.count("2 of 3 slides are unlike those the model was trained on") == 1
    assert "unlike" not in ats("predict", slides, "-m", model, "--json", "--quiet")[2]


def test_the_table_marks_them(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    _, out, _ = ats("predict", slides, "-m", model, "-o", tmp_path / "run")
    assert "unfamiliar" in out and " x" in out
    rows = (tmp_path / "run/predictions.csv").read_text().splitlines()
    column = rows[0].split(",").index("unfamiliar")
    assert sorted(row.split(",")[column] for row in rows[1:]) == ["False", "True", "True"]
    assert "unfamiliar" not in ats("predict", slides / "own.tif", "-m", model)[1]


@pytest.mark.integration
def test_more_tiles_of_a_run_have_the_score_of_all_at_once(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    how = ("-m", model, "--sampler", "murthy", "--json")
    ats("predict", slides, *how, "-o", tmp_path / "run", "--tiles", 5)
    _, extended, _ = ats("predict", "-o", tmp_path / "run", "--extend", "--tiles", 30, "--json")
    _, at_once, _ = ats("predict", slides, *how, "--tiles", 30)
    for one, other in zip(extended.splitlines(), at_once.splitlines(), strict=True):
        mine, theirs = json.loads(one), json.loads(other)
        assert mine["unfamiliar_score"] == pytest.approx(theirs["unfamiliar_score"], rel=1e-4)


def test_a_model_without_it_says_nothing(ats: Run, slides: Path, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain")
    _, out, err = ats("predict", slides, "-m", plain, "--json")
    for line in out.splitlines():
        record = json.loads(line)
        assert record["unfamiliar"] is record["unfamiliar_score"] is record["unfamiliar_to"] is None
    assert "unlike" not in err


def test_what_belongs_to_other_weights_is_refused(model: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    (other / "familiarity.safetensors").write_bytes((model / "familiarity.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"familiarity\.safetensors: belongs to other weights"):
        load_model(other)
    assert any("belongs to other weights" in problem for problem in verify(other))
    assert verify(model) == []


def test_answers_are_those_without_it(model: Path, slides: Path) -> None:
    loaded = load_model(model)
    plain = random_model(loaded.spec)
    for path in sorted(slides.iterdir()):
        with open_slide(path) as slide:
            known = predict_slide(slide, loaded)
        with open_slide(path) as slide:
            assert known.logits == pytest.approx(predict_slide(slide, plain).logits, abs=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_strips_have_the_embedding_of_the_whole_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    from dataclasses import replace

    model = replace(random_model(small_spec({"stride": stride})), computes_embedding=True)
    path = write_slide(tmp_path / "a.tif", noise(300, 220))
    found = []
    for pixels in (500_000, 900):
        monkeypatch.setattr("ats_cli.inference.attention_pass.STRIP_PIXELS", pixels)
        with open_slide(path) as slide:
            found.append(predict_slide(slide, model).comparison.embedding)
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[0] is not None and len(found[0]) == 2 * (3 + 4) + 4


def test_an_embedding_is_the_weighted_mean_and_deviation() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 5)).astype(np.float32) * 30
    logits[0] = -np.inf
    channels = rng.normal(size=(3, 6, 5)).astype(np.float32)
    together = None
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        part = SlideEmbedding.of(logits[rows], channels[:, rows])
        together = part if together is None else together.merge(part)
    attention = torch.softmax(torch.from_numpy(logits).double().flatten(), 0).numpy()
    values = channels.reshape(3, -1).astype(float)
    mean = values @ attention
    deviation = np.sqrt(((values - mean[:, None]) ** 2) @ attention)
    assert together is not None
    assert together.vector() == pytest.approx(np.concatenate([mean, deviation]), abs=1e-4)
