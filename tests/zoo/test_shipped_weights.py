"""Weights that ship with ats: a model whose trunk is unchanged names it and does not store it again."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import small_spec

from ats_cli.errors import ModelError
from ats_cli.nets.model import Model
from ats_cli.records import FeatureSpec
from ats_cli.zoo import load_model, save_model
from ats_cli.zoo import shipped_weights as module
from ats_cli.zoo.shipped_weights import FOLDER, fill_in, shipped_hash
from ats_cli.zoo.verify import verify

SPEC = small_spec(
    {"net": "lite0", "stride": 8},
    features=FeatureSpec(scale=1.0, patch_size=32, net="lite0", hidden=8),
    name="on-lite0",
)


@pytest.fixture
def nets() -> Model:
    nets = Model(SPEC)
    fill_in(nets)
    torch.nn.init.normal_(nets.attention.last.weight)
    return nets.eval()


def write(folder: Path, nets: Model) -> Path:
    save_model(folder, nets, {}, "# on lite0\n")
    return folder


def trunks_of(folder: Path) -> dict[str, str]:
    table = tomllib.loads((folder / "model.toml").read_text())
    return {part: table[part].get("trunk", "") for part in ("attention", "features")}


@pytest.mark.integration
def test_frozen_trunks_are_named_and_not_stored(nets: Model, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", nets)
    own = set(load_file(folder / "weights.safetensors"))
    assert own == {
        *(f"attention.{layer}.{kind}" for layer in ("hidden", "last") for kind in ("weight", "bias")),
        *(f"{layer}.{kind}" for layer in ("features.projection", "head") for kind in ("weight", "bias")),
        "term_range",
    }
    assert sum(file.stat().st_size for file in folder.iterdir()) < 100_000
    digest = hashlib.sha256((FOLDER / "lite0.safetensors").read_bytes()).hexdigest()[:16]
    assert trunks_of(folder) == {"attention": f"lite0:{digest}", "features": f"lite0:{digest}"}
    loaded = load_model(folder)
    for name, tensor in nets.state_dict().items():
        assert torch.equal(loaded.nets.state_dict()[name], tensor), name
    assert verify(folder) == []
    again = write(tmp_path / "again", loaded.nets)
    assert (again / "model.toml").read_bytes() == (folder / "model.toml").read_bytes()


def test_a_trained_trunk_is_stored_whole(nets: Model, tmp_path: Path) -> None:
    """A change of one number is a change."""
    frozen = write(tmp_path / "frozen", nets)
    with torch.no_grad():
        next(nets.features.backbone.parameters()).view(-1)[0] += 1e-3
    folder = write(tmp_path / "model", nets)
    assert trunks_of(folder) == {"attention": trunks_of(frozen)["attention"], "features": ""}
    loaded = load_model(folder).nets.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in nets.state_dict().items())


def test_other_shipped_weights_than_those_of_the_training_are_refused(
    nets: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "model", nets)
    monkeypatch.setattr(module, "shipped_hash", lambda name: "0123456789abcdef")
    message = (
        r"model\.toml: attention\.trunk: the model was trained on weights lite0 of hash .*, but this ats ships 0123"
    )
    with pytest.raises(ModelError, match=message):
        load_model(folder)
    assert "this ats ships 0123456789abcdef" in verify(folder)[0]


@pytest.mark.integration
@pytest.mark.parametrize("named", ["../lite0:0", "other:0", ":", "lite0"])
def test_a_trunk_that_there_is_not_is_refused(nets: Model, named: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", nets)
    file = folder / "model.toml"
    file.write_text(file.read_text().replace(f"lite0:{shipped_hash('lite0')}", named))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"model\.toml: attention\.trunk: "):
        load_model(folder)


def test_a_model_without_such_a_network_cannot_name_a_trunk(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", Model(small_spec()))
    file = folder / "model.toml"
    file.write_text(file.read_text().replace("[features]", '[features]\ntrunk = "lite0:0"'))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"features\.trunk: its network begins with no weights called 'lite0'"):
        load_model(folder)


def test_a_damaged_installation_is_said(nets: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "model", nets)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.shipped_weights.cache_clear()
    try:
        with pytest.raises(ModelError, match=r"lite0\.safetensors: not readable .* install ats again"):
            load_model(folder)
    finally:
        module.shipped_weights.cache_clear()


@pytest.mark.integration
def test_bf16_is_of_the_trunks_and_hidden_layers_and_near_fp32(nets: Model, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", nets)
    view = torch.rand(1, 3, 80, 77, generator=torch.Generator().manual_seed(0))
    exact, fast = load_model(folder).nets, load_model(folder, precision="bf16").nets
    with torch.inference_mode():
        logits, expected = fast.attend(view), exact.attend(view)
        features, wanted = (n.embed(view[..., :64, :64]) for n in (fast, exact))
    assert logits.dtype == features.dtype == torch.float32
    assert 0 < (logits - expected).abs().max() < 0.05 * expected.abs().max()
    assert 0 < (features - wanted).norm() < 0.1 * wanted.norm()
    kinds = {name: tensor.dtype for name, tensor in fast.state_dict().items()}
    assert kinds["attention.last.weight"] == kinds["features.projection.weight"] == torch.float32
    assert kinds["attention.trunk.stem.weight"] == kinds["attention.hidden.weight"] == torch.bfloat16
