"""The look at a whole slide: its low-resolution view through the attention net, strip by strip."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.nets.attention import normalise
from ats_cli.nets.geometry import Geometry, geometry_on
from ats_cli.nets.model import to_unit
from ats_cli.records import AttentionMap, SlideError
from ats_cli.slides import Slide, tissue_mask
from ats_cli.zoo import LoadedModel

# Pixels of view that go through the attention net at once; a few hundred MB of activations.
STRIP_PIXELS = 2_000_000


@dataclass(frozen=True)
class Look:
    """Attention (rows, cols) float64 on a slide, the geometry it lies on, and the seconds it took."""

    attention: NDArray[np.float64]
    positions: int
    geometry: Geometry
    seconds: dict[str, float]


def look_at(slide: Slide, model: LoadedModel, threads: int = 4) -> Look:
    """Attend to the whole slide. Raises SlideError without microns per pixel where the model needs them, when the
    view cannot be read, or when there is no tissue."""
    geometry = geometry_of(slide, model)
    view_rows, view_cols = slide.view_shape(geometry.view_downsample)
    rows, cols = geometry.grid_shape((view_rows, view_cols))
    logits = torch.empty(rows, cols, dtype=torch.float64)
    allowed = torch.ones(rows, cols, dtype=torch.bool)
    seconds = {"view": 0.0, "attention": 0.0}
    stride, halo = geometry.stride, model.nets.attention.halo
    step = max(1, STRIP_PIXELS // (view_cols * stride))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        clock = time.perf_counter()
        top = max(0, start * stride - halo)
        view = slide.read_view(geometry.view_downsample, (top, min(view_rows, stop * stride + halo)), threads)
        seconds["view"] += time.perf_counter() - clock

        clock = time.perf_counter()
        keep = slice(start - top // stride, stop - top // stride)
        with torch.inference_mode():
            strip = model.nets.attend(to_unit(torch.from_numpy(view)[None].to(model.device)))
        logits[start:stop] = strip[0, keep].double().cpu()
        if model.spec.attention.tissue_only:
            # The mask looks one pixel around, so it too is cut from the strip with its halo.
            allowed[start:stop] = torch.from_numpy(geometry.positions_in(tissue_mask(view)))[keep]
        seconds["attention"] += time.perf_counter() - clock
    if not allowed.any():
        raise SlideError(
            f"{slide.path.name}: no tissue found in the low-resolution view. Look at it with `ats info`; a slide "
            "that is not stained tissue on white needs a model made for it."
        )
    attention = normalise(logits[None], allowed[None])[0].numpy()
    return Look(attention, int(allowed.sum()), geometry, seconds)


def geometry_of(slide: Slide, model: LoadedModel) -> Geometry:
    """The model's geometry on this slide; a model in pixels does not ask for microns per pixel."""
    return geometry_on(model.spec, slide.require_mpp() if model.spec.unit == "um" else None)


def attention_map(slide: Slide, model: LoadedModel, *, threads: int = 4) -> AttentionMap:
    """The attention over a slide's positions."""
    look = look_at(slide, model, threads)
    return AttentionMap(look.attention, look.geometry.pitch, look.positions)
