"""A model knows where a position lies: from the attention map back to level-0 pixels, to the pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import small_spec, square, write_slide

from ats_cli.inference import attention_map
from ats_cli.inference.attention_pass import AttentionPass
from ats_cli.inference.context import PredictionContext
from ats_cli.nets.geometry import geometry_on
from ats_cli.nets.model import Model
from ats_cli.records import ModelSpec
from ats_cli.slides import open_slide
from ats_cli.zoo import LoadedModel


def spec(unit: str, scale: float, stride: int, patch_scale: float, patch_size: int) -> ModelSpec:
    made = small_spec({"scale": scale, "stride": stride, "prior_saturation": 1.0}, unit=unit)
    return replace(made, features=replace(made.features, scale=patch_scale, patch_size=patch_size))


@given(
    st.sampled_from(["px", "um"]),
    st.floats(0.8, 40),
    st.integers(1, 5),
    st.floats(0.2, 3),
    st.integers(1, 99),
    st.floats(0.1, 2),
    st.integers(1, 4000),
    st.integers(1, 4000),
)
def test_a_tile_lies_around_the_middle_of_its_position(
    unit: str, scale: float, stride: int, patch_scale: float, patch_size: int, mpp: float, width: int, height: int
) -> None:
    geometry = geometry_on(spec(unit, scale, stride, patch_scale, patch_size), mpp)
    pixels = 1 / mpp if unit == "um" else 1.0
    pitch, side = scale * pixels * stride, patch_scale * pixels * patch_size
    assert (geometry.pitch, geometry.tile_size) == pytest.approx((pitch, side))

    view = (int(np.ceil(height / (scale * pixels))), int(np.ceil(width / (scale * pixels))))
    rows, cols = geometry.grid_shape(view)
    # The positions cover the slide, and none lies wholly beyond it.
    assert rows * pitch >= height * (1 - 1e-9) and (rows - 1) * pitch < height
    assert cols * pitch >= width * (1 - 1e-9) and (cols - 1) * pitch < width

    positions = np.array([0, cols - 1, (rows - 1) * cols, rows * cols - 1, (rows // 2) * cols + cols // 2])
    boxes = geometry.boxes(positions, cols)
    for position, (x, y, w, h) in zip(positions, boxes.tolist(), strict=True):
        row, col = divmod(int(position), cols)
        assert (w, h) == pytest.approx((side, side))
        assert (x, y) == (round(x), round(y)), "corners are whole pixels"
        assert abs(x + side / 2 - (col + 0.5) * pitch) <= 0.5 + 1e-6
        assert abs(y + side / 2 - (row + 0.5) * pitch) <= 0.5 + 1e-6


def test_a_half_pixel_is_always_rounded_the_same_way() -> None:
    """Neighbours stay evenly spaced: rounding halves to even would put them 2 and 4 apart."""
    geometry = geometry_on(spec("px", 3.0, 1, 1.0, 4), None)
    boxes = geometry.boxes(np.arange(6), 6)
    assert boxes[:, 0].tolist() == [0.0, 3.0, 6.0, 9.0, 12.0, 15.0]
    assert set(boxes[:, 1]) == {0.0}


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(9, 12), (10, 7), (1, 1)])
def test_a_position_touches_the_mask_where_one_of_its_pixels_does(stride: int, shape: tuple[int, int]) -> None:
    geometry = geometry_on(spec("px", 4.0, stride, 1.0, 8), None)
    mask = np.random.default_rng(0).random(shape) < 0.15
    touched = geometry.positions_in(mask)
    assert touched.shape == geometry.grid_shape(shape)
    for row, col in np.ndindex(*touched.shape):
        cell = mask[row * stride : (row + 1) * stride, col * stride : (col + 1) * stride]
        assert touched[row, col] == cell.any()


def test_a_model_in_microns_does_not_guess() -> None:
    with pytest.raises(ValueError, match="microns"):
        geometry_on(spec("um", 2.0, 1, 0.5, 8), None)


@pytest.mark.integration
@pytest.mark.parametrize(("unit", "scale", "stride"), [("px", 8.0, 1), ("px", 5.3, 2), ("um", 1.7, 1), ("um", 0.9, 3)])
@pytest.mark.parametrize(("x", "y"), [(401, 133), (3, 600), (876, 5), (873, 667)])
def test_attention_finds_a_bright_square_and_the_tile_there_covers_it(
    unit: str, scale: float, stride: int, x: int, y: int, tmp_path: Path
) -> None:
    side, mpp = 30, 0.25
    pitch = scale * stride / (mpp if unit == "um" else 1)
    # A tile with room for the square wherever it lies around the position's middle.
    cover = 2 * pitch + side + 2
    patch_scale = cover / 50 * (mpp if unit == "um" else 1)
    bright = spec(unit, scale, stride, patch_scale, 50)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LoadedModel(Model(bright).eval().requires_grad_(False), bright, "", torch.device("cpu"))
    with open_slide(write_slide(tmp_path / "slide.tif", square(701, 907, x, y, side), mpp)) as slide:
        found = attention_map(slide, model)
        assert found.pitch == pytest.approx(pitch)
        rows, cols = found.values.shape
        assert rows * pitch >= 701 > (rows - 1) * pitch and cols * pitch >= 907 > (cols - 1) * pitch
        row, col = np.unravel_index(int(found.values.argmax()), found.values.shape)
        assert abs((row + 0.5) * pitch - (y + side / 2)) <= pitch
        assert abs((col + 0.5) * pitch - (x + side / 2)) <= pitch
        (box,) = AttentionPass(PredictionContext(slide, model)).geometry.boxes(np.array([row * cols + col]), cols)
        (patch,) = slide.read_tiles(box[None], 50, fill=0)
    assert patch.mean() / 255 * box[2] * box[3] == pytest.approx(side**2, rel=0.01)
