"""The look at a whole slide: its low-resolution view through the attention net, strip by strip."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.nets.geometry import Geometry, geometry_on
from ats_cli.nets.model import to_unit
from ats_cli.records import AttentionMap, SlideError
from ats_cli.slides import Slide, tissue_mask
from ats_cli.zoo import LoadedModel

# Pixels of view that go through the attention net at once; a few hundred MB of activations.
STRIP_PIXELS = 2_000_000


@dataclass
class Look:
    """A look at one slide, as far as it has come. `seconds` are spent on reading the view and on the net."""

    geometry: Geometry
    rows: int
    cols: int
    positions: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"view": 0.0, "attention": 0.0})


def begin_look(slide: Slide, model: LoadedModel) -> Look:
    """Where the positions of a slide lie. Raises SlideError without microns per pixel where the model needs them."""
    geometry = geometry_on(model.spec, slide.require_mpp() if model.spec.unit == "um" else None)
    return Look(geometry, *geometry.grid_shape(slide.view_shape(geometry.view_downsample)))


def strips(slide: Slide, model: LoadedModel, look: Look, threads: int) -> Iterator[NDArray[np.float32]]:
    """Yield the attention logits from top to bottom, (some rows, cols) at a time; -inf off the tissue.

    Each strip is read with as many rows around it as the net can see, so it is what the whole view would give.
    Raises SlideError when the view cannot be read or, at the end, when there is no tissue.
    """
    downsample, stride = look.geometry.view_downsample, look.geometry.stride
    view_rows, view_cols = slide.view_shape(downsample)
    halo = model.nets.attention.halo
    step = max(1, STRIP_PIXELS // (view_cols * stride))
    for start in range(0, look.rows, step):
        stop = min(start + step, look.rows)
        clock = time.perf_counter()
        top = max(0, start * stride - halo)
        view = slide.read_view(downsample, (top, min(view_rows, stop * stride + halo)), threads)
        look.seconds["view"] += time.perf_counter() - clock

        clock = time.perf_counter()
        keep = slice(start - top // stride, stop - top // stride)
        with torch.inference_mode():
            seen = model.nets.attend(to_unit(torch.from_numpy(view)[None].to(model.device)))
        logits: NDArray[np.float32] = seen[0, keep].float().cpu().numpy()
        if model.spec.attention.tissue_only:
            # The mask looks one pixel around, so it too is cut from the strip with its halo.
            logits = np.where(look.geometry.positions_in(tissue_mask(view))[keep], logits, np.float32(-np.inf))
        look.positions += int(np.count_nonzero(logits > -np.inf))
        look.seconds["attention"] += time.perf_counter() - clock
        yield logits
    if not look.positions:
        raise SlideError(
            f"{slide.path.name}: no tissue found in the low-resolution view. Check it with `ats info`; a slide that "
            "is not stained tissue on white needs a model made for it."
        )


def whole_map(slide: Slide, model: LoadedModel, look: Look, threads: int) -> NDArray[np.float64]:
    """Attention (rows, cols) over the slide: the softmax of all logits, 0 off the tissue."""
    values = np.concatenate(list(strips(slide, model, look, threads)), dtype=np.float64)
    # In place: a map of ten million positions is 80 MB each time it is copied.
    values -= values.max()
    np.exp(values, out=values)
    values /= values.sum()
    return values


def attention_map(slide: Slide, model: LoadedModel, *, threads: int = 4) -> AttentionMap:
    """The attention over a slide's positions."""
    look = begin_look(slide, model)
    values = whole_map(slide, model, look, threads)
    return AttentionMap(values, look.geometry.pitch, look.positions)


def softmax(logits: NDArray[np.floating], axis: int = -1) -> NDArray[np.float64]:
    """Probabilities over an axis, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis, keepdims=True))
