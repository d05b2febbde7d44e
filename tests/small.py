"""Small slides and small models, made in no time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from ats_cli.nets.model import Model
from ats_cli.records import AttentionSpec, FeatureSpec, ModelSpec, TrainingSpec
from ats_cli.zoo import LoadedModel, save_model

SPEC = ModelSpec(
    name="small",
    unit="px",
    attention=AttentionSpec(scale=4.0, channels=(4,), prior="bright", prior_strength=3.0),
    features=FeatureSpec(scale=1.0, patch_size=16, channels=(4, 4, 4, 4)),
    classes=("bright", "dark"),
    tiles=4,
    background=0,
    training=TrainingSpec(steps=8, batch_size=4, validate_every=4),
)


def small_spec(
    attention: dict[str, Any] | None = None, training: dict[str, Any] | None = None, **rest: Any
) -> ModelSpec:
    """SPEC, with some of it replaced."""
    return replace(
        SPEC,
        attention=replace(SPEC.attention, **(attention or {})),
        training=replace(SPEC.training, **(training or {})),
        **rest,
    )


def random_nets(spec: ModelSpec, seed: int = 0) -> Model:
    """Nets with every weight random: fresh ones attend as their prior says, and hide what a convolution sees."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        nets = Model(spec)
        for parameter in nets.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    nets.bound_terms()
    return nets.eval().requires_grad_(False)


def random_model(spec: ModelSpec, seed: int = 0) -> LoadedModel:
    return LoadedModel(random_nets(spec, seed), spec, "0" * 16, torch.device("cpu"))


def write_model(folder: Path, spec: ModelSpec = SPEC, seed: int = 0) -> Path:
    save_model(folder, random_nets(spec, seed), {}, f"# {spec.name}\n")
    return folder


def write_slide(path: Path, pixels: NDArray[np.uint8], mpp: float | None = None) -> Path:
    """A tiled TIFF; with `mpp` it says so in its resolution tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None, **size)
    return path


def copy_slide(source: Path, path: Path) -> Path:
    """A copy of a TIFF that is another file: bytes at its end that no reader reads."""
    path.write_bytes(source.read_bytes() + path.name.encode())
    return path


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Soft noise: neighbours alike, places different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (-(-height // 9), -(-width // 9), 3)).repeat(9, 0).repeat(9, 1)[:height, :width]
    return (coarse + rng.integers(0, 55, (height, width, 3))).astype(np.uint8)


def square(height: int, width: int, x: int, y: int, side: int, light: int = 255, ground: int = 0) -> NDArray[np.uint8]:
    """A canvas of one grey with a square of another, its top-left corner at (x, y)."""
    pixels = np.full((height, width, 3), ground, np.uint8)
    pixels[y : y + side, x : x + side] = light
    return pixels


def write_pyramid(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """A tiled TIFF with a second level at a quarter of the size: a view at 4 needs nothing of the first."""
    height, width = (side // 4 * 4 for side in pixels.shape[:2])
    reduced = pixels[:height, :width].reshape(height // 4, 4, width // 4, 4, 3).mean((1, 3)).round().astype(np.uint8)
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as out:
        out.write(pixels[:height, :width], subifds=1, **options)
        out.write(reduced, subfiletype=1, **options)
    return path


def damage(path: Path, *tiles: int, level: int = 0, absent: bool = False) -> Path:
    """Overwrite native tiles of a TIFF, by number; with `absent` the index says instead that they are not there."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.series[0].levels[level].pages[0]
        assert page is not None
        if absent:
            counts = page.tags["TileByteCounts"]
            counts.overwrite([0 if i in tiles else count for i, count in enumerate(counts.value)])
        for tile in () if absent else tiles:
            tiff.filehandle.seek(page.dataoffsets[tile])
            tiff.filehandle.write(b"\xff" * min(20, page.databytecounts[tile]))
    return path
