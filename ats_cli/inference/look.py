"""The look at a whole slide: its low-resolution view through the attention net, strip by strip."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.inference.described import Described
from ats_cli.inference.passes import Spent, in_order, passes_at_a_time
from ats_cli.nets.geometry import Geometry, geometry_on
from ats_cli.nets.model import to_unit
from ats_cli.records import AttentionMap, SlideError
from ats_cli.slides import Slide, tissue_mask
from ats_cli.slides.absence import Absence
from ats_cli.slides.slide import View
from ats_cli.zoo import LoadedModel

# Pixels of view that go through the attention net at once, some tens of MB of activations, and that are read at once.
# A view so wide that one row of positions, with the rows around it that the net sees, has more than the third is
# refused.
STRIP_PIXELS, READ_PIXELS, WIDEST_STRIP = 500_000, 5_000_000, 16_000_000

# Positions of a map that is held in memory. A draw from it takes some 35 bytes for each.
MAP_POSITIONS = 60_000_000


@dataclass
class Look:
    """A look at one slide, as far as it has come. Time is `spent` on reading the "view" and on "attention".

    `positions` can be drawn. `absent` ones show tiles that the file says it lacks; of `unreadable` ones a part of the
    view is damaged, `problem` says what first. Neither has attention. `described`: of a model that describes slides,
    what is seen where the attention lies.
    """

    geometry: Geometry
    rows: int
    cols: int
    absence: Absence | None = None
    positions: int = 0
    absent: int = 0
    unreadable: int = 0
    problem: str | None = None
    spent: Spent = field(default_factory=lambda: Spent("view", "attention"))
    described: Described | None = None

    @property
    def unreadable_share(self) -> float:
        """The share of the view that is damaged, of what the file holds of it."""
        return self.unreadable / max(1, self.rows * self.cols - self.absent)


def begin_look(slide: Slide, model: LoadedModel) -> Look:
    """Where the positions of a slide lie. Raises SlideError without microns per pixel where the model needs them, for a
    slide so wide that not even a row of its view fits into memory, and for a file that holds none of its tiles."""
    geometry = geometry_on(model.spec, slide.require_mpp() if model.spec.unit == "um" else None)
    view_rows, view_cols = slide.view_shape(geometry.view_downsample)
    if min(view_rows, geometry.stride + 2 * model.nets.attention.halo) * view_cols > WIDEST_STRIP:
        raise SlideError(
            f"{slide.path.name}: its low-resolution view would be {view_cols:,} x {view_rows:,} pixels, too wide to be "
            "held in memory. Check its size and --mpp with `ats info`, or use a model that looks at less resolution."
        )
    absence = slide.absence(geometry.tile_size / geometry.patch_size)
    if absence is not None and absence.complete:
        raise SlideError(
            f"{slide.path.name}: its index says that the file holds none of its tiles. Copy or export it again."
        )
    return Look(geometry, *geometry.grid_shape((view_rows, view_cols)), absence)


def strips(slide: Slide, model: LoadedModel, look: Look, threads: int) -> Iterator[NDArray[np.float32]]:
    """Yield the attention logits from top to bottom, (some rows, cols) at a time; -inf where nothing is to be drawn:
    off the tissue, where the file says that it has no tile, and where the view cannot be read.

    Each strip goes through the net with as many rows around it as the net can see, so it is what the whole view would
    give; what cannot be read is white to its neighbours. Raises SlideError when nothing of the view can be read or, at
    the end, when there is nothing to draw.
    """
    pieces = _strips_of_view(slide, model, look, threads)
    at_a_time = passes_at_a_time(model.device, threads)
    for logits, unreadable, problem, described in in_order(partial(_logits, model, look), pieces, at_a_time):
        if np.isnan(logits).any():
            raise not_finite(slide, model)
        look.positions += int(np.count_nonzero(logits > -np.inf))
        look.unreadable += unreadable
        look.problem = look.problem or problem
        look.described = described if look.described is None else look.described.with_(described)
        yield logits
    if not look.positions:
        raise _nothing_to_draw(slide.path.name, look)


class _Strip(NamedTuple):
    """Rows of positions: which of them are `absent` (rows, cols), and the part of the view under them.

    The first `above` rows of positions that the view shows are not of the strip. No view, where all is absent.
    """

    absent: NDArray[np.bool_]
    view: View | None
    above: int


def _strips_of_view(slide: Slide, model: LoadedModel, look: Look, threads: int) -> Iterator[_Strip]:
    """Read the view in large pieces, so that few of the file's tiles are decoded twice, and cut them into strips."""
    downsample, stride, halo = look.geometry.view_downsample, look.geometry.stride, model.nets.attention.halo
    view_rows, view_cols = slide.view_shape(downsample)
    step = max(1, STRIP_PIXELS // (view_cols * stride))
    piece = max(step, READ_PIXELS // (view_cols * stride) // step * step)
    for first in range(0, look.rows, piece):
        last = min(first + piece, look.rows)
        absent = _absent(look, first, last)
        look.absent += int(np.count_nonzero(absent))
        if absent.all():
            yield _Strip(absent, None, 0)
            continue
        begin = max(0, first * stride - halo)
        with look.spent.on("view"):
            view = slide.scan_view(downsample, (begin, min(view_rows, last * stride + halo)), threads)
        for start in range(first, last, step):
            stop = min(start + step, last)
            top = max(0, start * stride - halo)
            rows = slice(top - begin, stop * stride + halo - begin)
            # Copied, so that the large piece can go while its last strips are still with the net.
            part = View(view.pixels[rows].copy(), view.unreadable[rows].copy(), view.problem)
            yield _Strip(absent[start - first : stop - first], part, start - top // stride)
        del view


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


class _Seen(NamedTuple):
    """The logits of a strip, (rows, cols), -inf for what is not to be drawn; how many of its positions are damaged,
    and the sentence that says so; what is seen there."""

    logits: NDArray[np.float32]
    unreadable: int = 0
    problem: str | None = None
    described: Described | None = None


def _logits(model: LoadedModel, look: Look, strip: _Strip) -> _Seen:
    absent, view, above = strip
    if view is None:
        return _Seen(np.full(absent.shape, -np.inf, np.float32))
    keep = slice(above, above + len(absent))
    with look.spent.on("attention"):
        with torch.inference_mode():
            views = to_unit(torch.from_numpy(view.pixels)[None].to(model.device))
            seen, shown = model.nets.attend_and_describe(views) if model.describes else (model.nets.attend(views), None)
        logits: NDArray[np.float32] = seen[0, keep].float().cpu().numpy()
        # What is infinite is no answer of a network either; -inf below says that a position is not to be drawn.
        logits = np.where(np.isfinite(logits), logits, np.float32(np.nan))
        allowed = ~absent
        if model.spec.attention.tissue_only:
            # The mask looks one pixel around, so it too is cut from the strip with its halo.
            allowed &= look.geometry.positions_in(tissue_mask(view.pixels))[keep]
        unreadable = np.zeros_like(absent)
        if view.unreadable.any():
            unreadable = look.geometry.positions_in(view.unreadable)[keep] & ~absent
        logits = np.where(allowed & ~unreadable, logits, np.float32(-np.inf))
        described = None if shown is None else Described.of(logits, shown[0, :, keep].float().cpu().numpy())
        many = int(np.count_nonzero(unreadable))
        return _Seen(logits, many, view.problem if many else None, described)


def not_finite(slide: Slide, model: LoadedModel) -> SlideError:
    """What is said of a slide for which a network gives nan, or infinity."""
    return SlideError(
        f"{slide.path.name}: the networks of {model.name} give no finite numbers for this slide. Check the model with "
        "`ats models verify`, or compute with --precision fp32."
    )


def _nothing_to_draw(name: str, look: Look) -> SlideError:
    if look.problem:
        return SlideError(f"{look.problem} Nothing is left to draw in what can be read. Copy or export the file again.")
    return SlideError(
        f"{name}: no tissue found in the low-resolution view. Check it with `ats info`; a slide that "
        "is not stained tissue on white needs a model made for it.",
        "no tissue",
    )


def attention_map(slide: Slide, model: LoadedModel, *, threads: int = 4) -> AttentionMap:
    """The attention over a slide's positions."""
    look = begin_look(slide, model)
    values = whole_map(slide, model, look, threads)
    return AttentionMap(values, look.geometry.pitch, look.positions)
