"""A network that is added in one file and registered by name is trained, saved and used through the command line."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small import small_spec, square, write_slide
from torch import Tensor, nn

from ats_cli.errors import ModelError
from ats_cli.nets.attention import AttentionNetwork
from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec
from ats_cli.registry import ATTENTION_NETWORKS, FEATURE_NETWORKS
from ats_cli.zoo import load_model
from ats_cli.zoo.folder import read_folder, write_spec

Run = Callable[..., tuple[int, str, str]]


class Darkness(AttentionNetwork):
    """Attends to dark pixels; how much is learnt."""

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__(spec, reach=0)
        self.strength = nn.Parameter(torch.tensor(5.0))

    def forward(self, view: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
        darkness = 1 - view.mean(1)
        return self.strength * darkness, normalised[:, :0]


class MeanColour:
    """The mean colour of a patch, through one linear layer of as many outputs as the architecture says."""

    bf16 = False

    def build(self, spec: FeatureSpec, architecture: str) -> tuple[nn.Module, int]:
        width = int(architecture)
        pool = nn.AvgPool2d(spec.patch_size)
        return nn.Sequential(pool, nn.Flatten(), nn.Linear(3, width)), width


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    ATTENTION_NETWORKS.register("darkness", Darkness)
    FEATURE_NETWORKS.register("mean-colour", MeanColour())
    yield
    ATTENTION_NETWORKS.unregister("darkness")
    FEATURE_NETWORKS.unregister("mean-colour")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Light canvases with a dark square, red or blue."""
    for number in range(12):
        pixels = square(97, 83, 4 * number, 3 * number, 40, 20, 240)
        pixels[..., 2 * (number % 2)][pixels[..., 0] == 20] = 160
        write_slide(tmp_path / "data" / ("red", "blue")[number % 2] / f"{number:02d}.tif", pixels)
    return tmp_path / "data"


def recipe(folder: Path, spec: ModelSpec) -> Path:
    folder.mkdir()
    write_spec(spec, folder / "model.toml")
    return folder


def accuracy_of(ats: Run, data: Path, model: Path, output: Path) -> float:
    status, _, err = ats("predict", data / "red", data / "blue", "-m", model, "--device", "cpu", "-o", output)
    assert status == 0, err
    with (output / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return sum(Path(row["path"]).parent.name == row["predicted"] for row in rows) / len(rows)


QUICK = {"steps": 40, "lr": 0.02, "batch_size": 8, "validate_every": 40}


@pytest.mark.integration
def test_an_added_attention_network_is_trained_and_used(ats: Run, data: Path, tmp_path: Path) -> None:
    """Named on the command line. The rest of the recipe's attention stays as it is."""
    spec = small_spec({"stride": 2}, {**QUICK, "freeze": 0.0}, tiles=8)
    folder, model = recipe(tmp_path / "recipe", spec), tmp_path / "model"
    options = ("--recipe", folder, "-o", model, "--device", "cpu")
    status, _, err = ats("train", data, *options, "--attention-net", "darknes")
    assert status == 2 and "unknown attention network 'darknes'. Did you mean darkness?" in err
    status, _, err = ats("train", data, *options, "--attention-net", "darkness")
    assert status == 0, err
    assert load_model(model).nets.attention.stride == 2
    assert tomllib.loads((model / "model.toml").read_text())["attention"]["net"] == "darkness"
    network = load_model(model).nets.attention
    assert isinstance(network, Darkness) and float(network.strength) != 5.0, "it was trained"
    assert accuracy_of(ats, data, model, tmp_path / "run") == 1
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        assert all(float(row["attention_mass"]) > 0 for row in csv.DictReader(file))


@pytest.mark.integration
def test_an_added_feature_network_is_trained_and_used(ats: Run, data: Path, tmp_path: Path) -> None:
    """Named on the command line, with its architecture."""
    folder, model = recipe(tmp_path / "recipe", small_spec({"prior": "dense"}, QUICK, tiles=8)), tmp_path / "model"
    options = ("--recipe", folder, "--features", "mean-colour:6", "--device", "cpu")
    status, _, err = ats("train", data, *options, "-o", model)
    assert status == 0, err
    assert tomllib.loads((model / "model.toml").read_text())["features"]["net"] == "mean-colour:6"
    assert load_model(model).nets.features.width == 6
    assert accuracy_of(ats, data, model, tmp_path / "run") == 1
    status, _, err = ats("train", data, "--recipe", folder, "--features", "mean-color:6", "-o", tmp_path / "other")
    assert status == 2 and "unknown feature network 'mean-color'. Did you mean mean-colour?" in err


def test_the_name_of_an_attention_network_is_checked_and_the_default_is_not_written(tmp_path: Path) -> None:
    default = recipe(tmp_path / "default", small_spec())
    text = (default / "model.toml").read_text()
    assert "net" not in tomllib.loads(text)["attention"]
    assert read_folder(default).spec == small_spec(), "a file without the key has the default"
    assert ATTENTION_NETWORKS.names[0] == small_spec().attention.net
    (default / "model.toml").write_text(text.replace("[attention]", '[attention]\nnet = "darknes"'))
    with pytest.raises(
        ModelError, match=r"attention\.net: unknown attention network 'darknes'\. Did you mean darkness"
    ):
        read_folder(default)
