"""`ats train --features lite0 --attention-net lite0`: pretrained networks without a connection and without timm."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from small import noise, small_spec, write_slide

from ats_cli.zoo import load_model
from ats_cli.zoo.folder import write_spec

Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.integration


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Canvases of two textures, stripes lengthwise and across."""
    for number in range(8):
        pixels = noise(131, 140, number) // 4
        (pixels if number % 2 else pixels.swapaxes(0, 1))[::6] += 120
        write_slide(tmp_path / "data" / ("across", "along")[number % 2] / f"{number:02d}.tif", pixels)
    return tmp_path / "data"


@pytest.mark.slow
def test_pretrained_networks_are_trained_and_used(ats: Run, data: Path, tmp_path: Path) -> None:
    """The recipe is of the small networks: its positions are too small, and its channels are not asked for."""
    (tmp_path / "recipe").mkdir()
    training = {"steps": 20, "lr": 0.02, "batch_size": 4, "validate_every": 20, "freeze": 0.0}
    write_spec(small_spec({"stride": 3, "scale": 1.0}, training), tmp_path / "recipe" / "model.toml")
    model = tmp_path / "model"
    networks = ("--features", "lite0", "--attention-net", "lite0", "--lr-features", "0")
    status, _, err = ats("train", data, "--recipe", tmp_path / "recipe", *networks, "-o", model, "--device", "cpu")
    assert status == 0, err
    assert "the attention network lite0 needs positions of 8 x 8 pixels of the view, not 3 x 3" in err
    spec = load_model(model).spec
    assert (spec.attention.stride, spec.attention.trunk, spec.features.net) == (8, spec.features.trunk, "lite0")
    assert not [name for name in load_file(model / "weights.safetensors") if "trunk" in name or "backbone" in name]

    status, _, err = ats(
        "predict", data / "across", data / "along", "-m", model, "--device", "cpu", "-o", tmp_path / "run"
    )
    assert status == 0, err
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == [Path(row["path"]).parent.name for row in rows]

    status, shown, _ = ats("models", "show", model)
    assert status == 0 and f"weights  {spec.attention.trunk} of ats (attention, features), its own\n" in shown
    status, record, _ = ats("models", "show", model, "--json")
    assert json.loads(record)["spec"]["features"]["trunk"] == spec.features.trunk
    assert ats("models", "verify", model)[0] == 0

    code = (
        "import sys\nfrom ats_cli.inference.api import predict\n"
        f"predict({str(data / 'along' / '01.tif')!r}, {str(model)!r})\nassert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trained_features_are_stored_whole(ats: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    training = {"steps": 2, "lr": 1e-3, "batch_size": 2, "validate_every": 2}
    write_spec(small_spec({"scale": 1.0}, training), tmp_path / "recipe" / "model.toml")
    networks = ("--features", "lite0", "--lr-features", "0.1")
    status, _, err = ats(
        "train", data, "--recipe", tmp_path / "recipe", *networks, "-o", tmp_path / "model", "--device", "cpu"
    )
    assert status == 0, err
    stored = load_file(tmp_path / "model" / "weights.safetensors")
    assert "features.backbone.stem.weight" in stored
    assert load_model(tmp_path / "model").spec.features.trunk == ""
