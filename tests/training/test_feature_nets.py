"""Feature nets of timm: trained, saved, loaded, used; pretrained from a file or the hub; frozen to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hub_server import hub
from safetensors.torch import save_file
from small import small_spec, square, write_model, write_slide
from trainings import train_into, train_slides

from ats_cli.errors import ModelError
from ats_cli.inference import predict_many
from ats_cli.records import FeatureSpec, ModelSpec
from ats_cli.slides import SlideSource
from ats_cli.training import LabelledSlide
from ats_cli.training.loop import state as module
from ats_cli.training.train import TrainingProgress
from ats_cli.zoo import load_model

pytestmark = pytest.mark.integration

VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(6):
        label, light = (("bright", 250), ("dark", 10))[number % 2]
        write_slide(tmp_path / "data" / label / f"{number}.tif", square(97, 83, 5 * number, 20, 40, light, 128))
    return tmp_path / "data"


def slides_of(data: Path) -> list[LabelledSlide]:
    return [LabelledSlide(str(p), p, p.parent.name) for p in sorted(data.rglob("*.tif"))]


def spec_of(net: str, **more: Any) -> ModelSpec:
    training = {"steps": 3, "batch_size": 4, "freeze": 0.0, **more.pop("training", {})}
    features = FeatureSpec(scale=1.0, patch_size=32, net=net, **more)
    return small_spec(training=training, features=features, tiles=3)


def recipe(folder: Path, spec: ModelSpec) -> str:
    (write_model(folder, spec) / "weights.safetensors").unlink()
    return str(folder)


def states(spec: ModelSpec, data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """All tensors of the nets as they begin and after training, running statistics too."""
    begun: list[dict[str, torch.Tensor]] = []
    load = module.load_pretrained

    def watched(nets: Any) -> None:
        load(nets)
        begun.append({name: tensor.clone() for name, tensor in nets.state_dict().items()})

    monkeypatch.setattr(module, "load_pretrained", watched)
    trained = train_slides(spec, slides_of(data), slides_of(data)[:2])
    return begun[0], dict(trained.nets.state_dict())


def changed(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


@pytest.mark.parametrize("net", ["timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_a_timm_net_is_trained_saved_loaded_and_used(net: str, data: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    trained = train_into(
        folder=data,
        manifest=None,
        recipe=recipe(tmp_path / "recipe", spec_of(net)),
        output=tmp_path / "model",
        validation=0.34,
        on_progress=seen.append,
    )
    assert len(seen) == 3
    model = load_model(tmp_path / "model")
    assert model.spec.features.net == net
    assert not changed(dict(model.nets.state_dict()), dict(trained.nets.state_dict()))
    found = list(predict_many([SlideSource(s.slide_id, s.path) for s in slides_of(data)], model))
    assert [p.status for p in found] == ["ok"] * 6 and all(p.sampling.tiles == 3 for p in found)


@pytest.mark.parametrize("net", ["timm:resnet18", "timm:mobilenetv3_small_050", "timm:vit_tiny_patch16_224"])
def test_a_frozen_net_is_not_changed_by_a_bit(net: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(net, training={"lr_features": 0.0, "weight_decay": 0.1})
    before, after = states(spec, data, monkeypatch)
    moved = changed(before, after)
    assert moved and not any(name.startswith("features.") for name in moved)
    assert any(name.startswith("head.") for name in moved) and any(name.startswith("attention.") for name in moved)


def test_pretrained_from_a_file_it_begins_there_and_keeps_its_statistics(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's head is left out. Tuned, weights move; what BatchNorm knows of its images stays."""
    theirs = timm.create_model("resnet18", pretrained=False, num_classes=7)
    with torch.no_grad():
        theirs.bn1.running_mean.uniform_(-1, 1)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    spec = spec_of("timm:resnet18", pretrained=str(tmp_path / "weights.safetensors"))
    before, after = states(spec, data, monkeypatch)
    for name, tensor in theirs.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(before[f"features.backbone.{name}"], tensor), name
    moved = changed(before, after)
    assert "features.backbone.conv1.weight" in moved
    assert not any("running" in name or "num_batches" in name for name in moved)
    # From scratch they are learnt.
    before, after = states(spec_of("timm:resnet18"), data, monkeypatch)
    assert "features.backbone.bn1.running_mean" in changed(before, after)


def test_each_part_has_its_learning_rate(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's first step is as long as the rate, whatever the gradient."""
    training = {"steps": 1, "lr": 0.01, "lr_attention": 0.5, "lr_features": 0.1, "lr_head": 2.0}
    before, after = states(spec_of("cnn", training=training), data, monkeypatch)
    for name, factor in {
        "attention.last.weight": 0.5,
        "features.backbone.layers.0.weight": 0.1,
        "head.bias": 2.0,
    }.items():
        step = (after[name] - before[name]).abs().max()
        assert float(step) == pytest.approx(0.01 * factor, rel=0.02), name


@pytest.mark.parametrize(
    ("pretrained", "words"),
    [
        ("no_such_file.safetensors", "no such file"),
        ("pickle.pt", "not a readable safetensors file.* Files that hold code are not loaded"),
        ("other.safetensors", "not of this feature network: conv1.weight is missing"),
    ],
)
def test_weights_that_do_not_fit_are_a_sentence(data: Path, tmp_path: Path, pretrained: str, words: str) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.pt")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=words) as caught:
        train_slides(spec_of("timm:resnet18", pretrained=str(tmp_path / pretrained)), slides_of(data), [])
    assert len(str(caught.value).splitlines()) == 1


def test_patches_that_a_net_cannot_take_are_a_sentence(data: Path) -> None:
    spec = small_spec(
        features=FeatureSpec(scale=1.0, patch_size=30, net="timm:vit_tiny_patch16_224", options={"depht": 2})
    )
    with pytest.raises(ModelError, match="cannot be built for patches of 30 pixels"):
        train_slides(spec, slides_of(data), [])


def test_a_foundation_model_of_the_hub(data: Path, tmp_path: Path) -> None:
    """Its architecture, options and colours come from its configuration; once trained, the hub is not needed."""
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT)
    folder = tmp_path / "repository"
    folder.mkdir()
    save_file(theirs.state_dict(), folder / "model.safetensors")
    colours = {"mean": [0.7, 0.6, 0.5], "std": [0.2, 0.3, 0.4], "input_size": [3, 224, 224], "num_classes": 0}
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "pretrained_cfg": colours, "model_args": VIT}
    (folder / "config.json").write_text(json.dumps(config))
    here = recipe(tmp_path / "recipe", spec_of("cnn", training={"steps": 1}))
    words = ("--recipe", here, "--features", "timm:hf-hub:lab/net", "--lr-features", "0", "--val", "0", "-o", "model")
    command = (sys.executable, "-m", "ats_cli", "train", str(data), "--device", "cpu", *words)

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": os.pathsep.join(sys.path), **more}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)

    offline = run(HF_HUB_OFFLINE="1")
    assert offline.returncode == 2 and "could not be fetched from the hub" in offline.stderr
    assert len(offline.stderr.strip().splitlines()) == 1 and not (tmp_path / "model").exists()
    with hub({"lab/net": folder}) as (endpoint, _):
        done = run(HF_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr[-2000:]

    model = load_model(tmp_path / "model")
    written = model.spec.features
    assert (written.net, written.options) == ("timm:vit_tiny_patch16_224", VIT)
    assert (written.mean, written.std) == ((0.7, 0.6, 0.5), (0.2, 0.3, 0.4))
    assert written.pretrained == "hf-hub:lab/net"
    weights = model.nets.features.backbone.state_dict()
    assert torch.equal(weights["blocks.0.attn.qkv.weight"], theirs.state_dict()["blocks.0.attn.qkv.weight"])
    patches = torch.rand(2, 3, 32, 32)
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, **VIT).eval()
    plain.load_state_dict(weights)
    normalised = (patches - torch.tensor(written.mean).view(3, 1, 1)) / torch.tensor(written.std).view(3, 1, 1)
    expected = torch.nn.functional.normalize(plain(normalised), dim=1)
    torch.testing.assert_close(model.nets.embed(patches), expected)


def test_a_model_to_begin_with(data: Path, tmp_path: Path) -> None:
    """The nets are taken over, and the head too where the classes are as many; its recipe is followed."""
    other = write_model(tmp_path / "other", small_spec(training={"steps": 1, "lr": 0.0}), seed=5)
    given: dict[str, Any] = {"folder": data, "manifest": None, "recipe": None, "init": str(other), "validation": 0.0}
    trained = train_into(output=tmp_path / "model", **given)
    assert not changed(dict(load_model(other).nets.state_dict()), dict(trained.nets.state_dict()))
    (data / "third").mkdir()
    write_slide(data / "third" / "x.tif", square(97, 83, 5, 20, 40, 60, 128))
    trained = train_into(output=tmp_path / "three", **given)
    moved = {
        name
        for name, t in load_model(other).nets.state_dict().items()
        if t.shape != trained.nets.state_dict()[name].shape
    }
    assert moved == {"head.weight", "head.bias"}
