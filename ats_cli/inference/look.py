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
from ats_cli.slides.absence import Absence
from ats_cli.zoo import LoadedModel

# Pixels of view that go through the attention net at once; a few hundred MB of activations. A view so wide that one
# row of positions, with the rows around it that the net sees, has more than the second is refused.
STRIP_PIXELS, WIDEST_STRIP = 2_000_000, 16_000_000

# Positions of a map that is held in memory. A draw from it takes some 100 bytes for each.
MAP_POSITIONS = 60_000_000


@dataclass
class Look:
    """A look at one slide, as far as it has come. `seconds` are spent on reading the view and on the net.

    `positions` can be drawn. `absent` ones show tiles that the file says it lacks; of `unreadable` ones a part of the
    view is damaged, `problem` says what first. Neither has attention.
    """

    geometry: Geometry
    rows: int
    cols: int
    absence: Absence | None = None
    positions: int = 0
    absent: int = 0
    unreadable: int = 0
    problem: str | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"view": 0.0, "attention": 0.0})

    @property
    def unreadable_share(self) -> float:
        """The share of the view that is damaged, of what the file holds of it."""
        return self.unreadable / max(1, self.rows * self.cols - self.absent)


def begin_look(slide: Slide, model: LoadedModel) -> Look:
    """Where the positions of a slide lie. Raises SlideError without microns per pixel where the model needs them, and
    for a slide so wide that not even a row of its view fits into memory."""
    geometry = geometry_on(model.spec, slide.require_mpp() if model.spec.unit == "um" else None)
    view_rows, view_cols = slide.view_shape(geometry.view_downsample)
    if min(view_rows, geometry.stride + 2 * model.nets.attention.halo) * view_cols > WIDEST_STRIP:
        raise SlideError(
            f"{slide.path.name}: its low-resolution view would be {view_cols:,} x {view_rows:,} pixels, too wide to be "
            "held in memory. Check its size and --mpp with `ats info`, or use a model that looks at less resolution."
        )
    absence = slide.absence(geometry.tile_size / geometry.patch_size)
    return Look(geometry, *geometry.grid_shape((view_rows, view_cols)), absence)


def strips(slide: Slide, model: LoadedModel, look: Look, threads: int) -> Iterator[NDArray[np.float32]]:
    """Yield the attention logits from top to bottom, (some rows, cols) at a time; -inf where nothing is to be drawn:
    off the tissue, where the file says that it has no tile, and where the view cannot be read.

    Each strip is read with as many rows around it as the net can see, so it is what the whole view would give; what
    cannot be read is white to its neighbours. Raises SlideError when nothing of the view can be read or, at the end,
    when there is nothing to draw.
    """
    step = max(1, STRIP_PIXELS // (slide.view_shape(look.geometry.view_downsample)[1] * look.geometry.stride))
    for start in range(0, look.rows, step):
        stop = min(start + step, look.rows)
        absent = _absent(look, start, stop)
        look.absent += int(np.count_nonzero(absent))
        if absent.all():
            logits = np.full(absent.shape, -np.inf, np.float32)
        else:
            logits = _logits(slide, model, look, start, stop, absent, threads)
        look.positions += int(np.count_nonzero(logits > -np.inf))
        yield logits
    if not look.positions:
        raise SlideError(_nothing_to_draw(slide.path.name, look))


def whole_map(slide: Slide, model: LoadedModel, look: Look, threads: int) -> NDArray[np.float64]:
    """Attention (rows, cols) over the slide: the softmax of all logits, 0 where nothing is to be drawn."""
    if look.rows * look.cols > MAP_POSITIONS:
        raise SlideError(
            f"{slide.path.name}: its attention map has {look.rows * look.cols:,} positions, more than the "
            f"{MAP_POSITIONS:,} that are held in memory. `ats predict --sampler murthy` takes them strip by strip."
        )
    values = np.concatenate(list(strips(slide, model, look, threads)), dtype=np.float64)
    # In place: a map of ten million positions is 80 MB each time it is copied.
    values -= values.max()
    np.exp(values, out=values)
    values /= values.sum()
    return values


def _absent(look: Look, start: int, stop: int) -> NDArray[np.bool_]:
    """Which positions of rows start to stop show tiles that the file lacks, (rows, cols)."""
    if look.absence is None:
        return np.zeros((stop - start, look.cols), np.bool_)
    x = look.geometry.corners(np.arange(look.cols))
    y = look.geometry.corners(np.arange(start, stop))
    return look.absence.grid(x, y, look.geometry.tile_size)


def _logits(
    slide: Slide, model: LoadedModel, look: Look, start: int, stop: int, absent: NDArray[np.bool_], threads: int
) -> NDArray[np.float32]:
    """The logits of the positions in rows start to stop; -inf for those that are not to be drawn."""
    clock = time.perf_counter()
    downsample, stride, halo = look.geometry.view_downsample, look.geometry.stride, model.nets.attention.halo
    view_rows, _ = slide.view_shape(downsample)
    top = max(0, start * stride - halo)
    view = slide.scan_view(downsample, (top, min(view_rows, stop * stride + halo)), threads)
    look.seconds["view"] += time.perf_counter() - clock

    clock = time.perf_counter()
    keep = slice(start - top // stride, stop - top // stride)
    with torch.inference_mode():
        seen = model.nets.attend(to_unit(torch.from_numpy(view.pixels)[None].to(model.device)))
    logits: NDArray[np.float32] = seen[0, keep].float().cpu().numpy()
    allowed = ~absent
    if model.spec.attention.tissue_only:
        # The mask looks one pixel around, so it too is cut from the strip with its halo.
        allowed &= look.geometry.positions_in(tissue_mask(view.pixels))[keep]
    if view.problem:
        unreadable = look.geometry.positions_in(view.unreadable)[keep] & ~absent
        look.unreadable += int(np.count_nonzero(unreadable))
        look.problem = look.problem or view.problem
        allowed &= ~unreadable
    logits = np.where(allowed, logits, np.float32(-np.inf))
    look.seconds["attention"] += time.perf_counter() - clock
    return logits


def _nothing_to_draw(name: str, look: Look) -> str:
    if look.problem:
        return f"{look.problem} Nothing is left to draw in what can be read. Copy or export the file again."
    if look.absent == look.rows * look.cols:
        return f"{name}: its index says that the file holds none of its tiles. Copy or export it again."
    return (
        f"{name}: no tissue found in the low-resolution view. Check it with `ats info`; a slide that "
        "is not stained tissue on white needs a model made for it."
    )


def attention_map(slide: Slide, model: LoadedModel, *, threads: int = 4) -> AttentionMap:
    """The attention over a slide's positions."""
    look = begin_look(slide, model)
    values = whole_map(slide, model, look, threads)
    return AttentionMap(values, look.geometry.pitch, look.positions)


def softmax(logits: NDArray[np.floating], axis: int = -1) -> NDArray[np.float64]:
    """Probabilities over an axis, in float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - logits.max(axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis, keepdims=True))
