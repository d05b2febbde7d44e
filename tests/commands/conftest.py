"""A small model with fresh weights, and small slides: what a run of the command line needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ats_cli.app import run
from ats_cli.nets.model import Model
from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec
from ats_cli.zoo import save_model
from tests.ats_process import ATS

SPEC = ModelSpec(
    name="tiny",
    unit="px",
    attention=AttentionSpec(scale=4.0),
    features=FeatureSpec(scale=1.0, patch_size=32, channels=(4, 4, 4, 4)),
    classes=("light", "dark"),
    tiles=4,
    notice="This model knows nothing.",
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: positions and patches in level-0 pixels."""
    return _save(SPEC, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def micron_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in microns: slides need an mpp."""
    return _save(replace(SPEC, unit="um", notice=""), tmp_path_factory.mktemp("models") / "micron")


def _save(spec: ModelSpec, folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(folder, Model(spec), {}, "# tiny\n")
    return folder


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with two slides, a file that looks like one and is none, and a file that does not."""
    folder = tmp_path / "slides"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (height, width) in {"one": (120, 160), "two [x]": (97, 203)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "broken.svs").write_bytes(b"no slide at all")
    (folder / "notes.txt").write_text("not a slide")
    return folder


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ats(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `ats ARGUMENTS` in this process; returns (exit status, stdout, stderr)."""

    def ats_(*arguments: object) -> tuple[int, str, str]:
        status = run([str(a) for a in arguments])
        return status, *capfd.readouterr()

    return ats_


@pytest.fixture
def ats_command() -> list[str]:
    """The start of a command line that runs `ats` in a process of its own."""
    return list(ATS)
