"""Attention over a whole slide: the low-resolution view through the attention network, strip by strip."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.slide_embedding import SlideEmbedding
from ats_cli.nets.geometry import geometry_on
from ats_cli.nets.model import to_unit
from ats_cli.records import AttentionMap
from ats_cli.slides import Slide, tissue_mask
from ats_cli.slides.regions.slide_regions import SlideRegions
from ats_cli.slides.slide import View
from ats_cli.zoo import LoadedModel

STRIP_PIXELS = 500_000  # of the view in one forward pass: some tens of MB of activations
FAR = 16  # a halo above this: strips are twice as large, so that less of the view is computed twice
READ_PIXELS = 5_000_000  # of the view read at once: few of the file's tiles are decoded twice
MAX_ROW_PIXELS = 16_000_000  # refuse wider views: one row of positions plus halo must fit in memory
MAX_MAP_POSITIONS = 60_000_000  # in a map in memory; a draw from it takes about 35 bytes a position


@dataclass(frozen=True)
class AttentionStrip:
    """Attention logits of consecutive rows of positions.

    logits: (rows, cols) float32, -inf where no tile may be drawn.
    missing: (rows, cols) bool, positions whose tiles the file does not hold, or that lie outside of the regions.
    damaged: (rows, cols) bool, positions whose part of the view could not be decoded.
    problem: the first decoding error, as a sentence, or None.
    embedding: the strip's part of the slide's embedding, for a model that computes one.
    """

    logits: NDArray[np.float32]
    missing: NDArray[np.bool_]
    damaged: NDArray[np.bool_]
    problem: str | None = None
    embedding: SlideEmbedding | None = None


@dataclass
class StripTotals:
    """Sums over the strips that were added.

    cells: all positions of the grid.
    positions: those that can be drawn.
    missing, damaged: those of the strips.
    bits: which positions can be drawn, a bit each; rows of each strip.
    """

    cells: int = 0
    positions: int = 0
    missing: int = 0
    damaged: int = 0
    problem: str | None = None
    embedding: SlideEmbedding | None = None
    bits: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, strip: AttentionStrip) -> None:
        drawable = strip.logits > -np.inf
        self.cells += strip.logits.size
        self.positions += int(np.count_nonzero(drawable))
        self.bits.append(np.packbits(drawable, axis=1))
        self.missing += int(np.count_nonzero(strip.missing))
        self.damaged += int(np.count_nonzero(strip.damaged))
        self.problem = self.problem or strip.problem
        self.embedding = strip.embedding if self.embedding is None else self.embedding.merge(strip.embedding)

    def region(self, cols: int) -> NDArray[np.bool_]:
        """Return which positions can be drawn, (rows, cols)."""
        return np.unpackbits(np.concatenate(self.bits), axis=1, count=cols).astype(np.bool_)

    @property
    def damaged_share(self) -> float:
        """The damaged share of what the file holds of the view."""
        return self.damaged / max(1, self.cells - self.missing)


class AttentionPass:
    """Runs the attention network over one slide. Its stages are "view" (reading) and "attention".

    Raises SlideError if the slide has no mpp and the model needs one, if one row of positions does not fit in memory,
    or if the file holds no tile at all.
    """

    def __init__(self, context: PredictionContext) -> None:
        slide, model = context.slide, context.model
        self._context = context
        self._halo = model.nets.attention.halo
        self.geometry = geometry_on(model.spec, slide.require_mpp() if model.spec.unit == "um" else None)
        self._view_rows, self._view_cols = slide.view_shape(self.geometry.view_downsample)
        self.rows, self.cols = self.geometry.grid_shape((self._view_rows, self._view_cols))
        if min(self._view_rows, self.geometry.stride + 2 * self._halo) * self._view_cols > MAX_ROW_PIXELS:
            raise SlideError(
                f"its low-resolution view would be {self._view_cols:,} x {self._view_rows:,} pixels, too wide for "
                "memory. Check its size and --mpp with `ats info`, or use a model with a lower attention resolution.",
                name=context.file_name,
            )
        self._absence = slide.absence(self.geometry.tile_size / self.geometry.patch_size)
        if self._absence is not None and self._absence.complete:
            raise SlideError("its index has none of its tiles. Copy or export it again.", name=context.file_name)

    def strips(self) -> Iterator[AttentionStrip]:
        """Yield strips from top to bottom. Views overlap by the network's halo, so strips equal the whole's result.

        No tile may be drawn off the tissue, outside of the regions, where the file has no tile, and where the view is
        damaged. Of the view, only strips with a position to draw are read; damaged pixels are filled with white. Raises
        SlideError if nothing of the view can be read and, at the end, if no tile may be drawn.
        """
        drawable, problem = False, None
        for strip in self._context.forward_pool().map(self._forward, self._view_strips()):
            if np.isnan(strip.logits).any():
                raise self._context.not_finite()
            drawable = drawable or bool((strip.logits > -np.inf).any())
            problem = problem or strip.problem
            yield strip
        if not drawable and self._context.regions is not None and not problem:
            raise self._context.regions.nothing_to_draw(self._context.file_name)
        if not drawable:
            raise _nothing_to_draw(self._context.file_name, problem)

    def attention(self) -> tuple[AttentionMap, StripTotals]:
        """Return the softmax over all positions, float64, and the totals of the strips.

        Needs 8 bytes a position; use `strips` for streaming. Raises SlideError as `strips`, and for a map that is too
        large for memory.
        """
        if self.rows * self.cols > MAX_MAP_POSITIONS:
            in_microns = self._context.model.spec.unit == "um"
            scale = f" at {self._context.slide.require_mpp():g} microns per pixel" if in_microns else ""
            check = "Check that mpp; if it is right, " if scale else ""
            raise SlideError(
                f"its attention map has {self.rows * self.cols:,} positions{scale}, more than the "
                f"{MAX_MAP_POSITIONS:,} that fit in memory. {check}`ats predict --sampler murthy` "
                "reads them strip by strip.",
                "too large",
                name=self._context.file_name,
            )
        totals, logits = StripTotals(), []
        for strip in self.strips():
            totals.add(strip)
            logits.append(strip.logits)
        values = np.concatenate(logits, dtype=np.float64)
        # In place: a map of ten million positions is 80 MB each time it is copied.
        values -= values.max()
        np.exp(values, out=values)
        values /= values.sum()
        return AttentionMap(values, self.geometry.pitch, totals.positions), totals

    def _view_strips(self) -> Iterator["_ViewStrip"]:
        """Read the view in large pieces and cut them into strips."""
        downsample, stride, halo = self.geometry.view_downsample, self.geometry.stride, self._halo
        strip_pixels = 2 * STRIP_PIXELS if halo > FAR else STRIP_PIXELS
        strip_rows = max(1, strip_pixels // (self._view_cols * stride))
        piece_rows = max(strip_rows, READ_PIXELS // (self._view_cols * stride) // strip_rows * strip_rows)
        for first in range(0, self.rows, piece_rows):
            last = min(first + piece_rows, self.rows)
            missing = self._missing(first, last)
            if missing.all():
                yield _ViewStrip(missing, None, 0)
                continue
            top_of_piece = max(0, first * stride - halo)
            with self._context.stopwatch.measure("view"):
                view_rows = (top_of_piece, min(self._view_rows, last * stride + halo))
                view = self._context.slide.scan_view(downsample, view_rows, self._context.threads)
            for start in range(first, last, strip_rows):
                stop = min(start + strip_rows, last)
                top = max(0, start * stride - halo)
                rows = slice(top - top_of_piece, stop * stride + halo - top_of_piece)
                # Copy, so the piece can be freed while its last strips are still processed.
                part = View(view.pixels[rows].copy(), view.unreadable[rows].copy(), view.problem)
                yield _ViewStrip(missing[start - first : stop - first], part, start - top // stride)
            del view

    def _missing(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return which positions of rows start to stop lie outside of the regions, or have tiles that the file does not
        hold, (rows, cols)."""
        regions = self._context.regions
        outside = np.zeros((stop - start, self.cols), np.bool_)
        if regions is not None:
            outside = ~regions.positions(self.geometry.pitch, range(start, stop), self.cols)
        if self._absence is None:
            return outside
        x = self.geometry.corners(np.arange(self.cols))
        y = self.geometry.corners(np.arange(start, stop))
        return outside | self._absence.grid(x, y, self.geometry.tile_size)

    def _forward(self, strip: "_ViewStrip") -> AttentionStrip:
        """Return the attention logits of a strip; NaN where the network gives NaN or infinity."""
        missing, view, halo_rows = strip
        if view is None:
            return AttentionStrip(np.full(missing.shape, -np.inf, np.float32), missing, np.zeros_like(missing))
        model, rows = self._context.model, slice(halo_rows, halo_rows + len(missing))
        with self._context.stopwatch.measure("attention"):
            channels = None
            with torch.inference_mode():
                views = to_unit(torch.from_numpy(view.pixels)[None].to(model.device))
                if model.computes_embedding:
                    output, channels = model.nets.attend_with_channels(views)
                else:
                    output = model.nets.attend(views)
            logits: NDArray[np.float32] = output[0, rows].float().cpu().numpy()
            # An infinite output is an error too; below, -inf marks positions that may not be drawn.
            logits = np.where(np.isfinite(logits), logits, np.float32(np.nan))
            allowed = ~missing
            if model.spec.attention.tissue_only:
                # The mask depends on adjacent pixels, so it is computed with the halo.
                allowed &= self.geometry.positions_in(tissue_mask(view.pixels))[rows]
            damaged = np.zeros_like(missing)
            if view.unreadable.any():
                damaged = self.geometry.positions_in(view.unreadable)[rows] & ~missing
            logits = np.where(allowed & ~damaged, logits, np.float32(-np.inf))
            embedding = None
            if channels is not None:
                embedding = SlideEmbedding.of(logits, channels[0, :, rows].float().cpu().numpy())
            return AttentionStrip(logits, missing, damaged, view.problem if damaged.any() else None, embedding)


class _ViewStrip(NamedTuple):
    """The view under consecutive rows of positions.

    missing: (rows, cols) bool, as in AttentionStrip.
    view: None if all are missing.
    halo_rows: rows of positions at the top of `view` that belong to the strip above.
    """

    missing: NDArray[np.bool_]
    view: View | None
    halo_rows: int


def _nothing_to_draw(file_name: str, problem: str | None) -> SlideError:
    if problem:
        return SlideError(f"{problem} No tile may be drawn from the part that can be read. Copy or export it again.")
    return SlideError(
        "no tissue found in the low-resolution view. Check it with `ats info`; a slide that is not stained tissue on "
        "white needs a model made for it.",
        "no tissue",
        file_name,
    )


def attention_map(
    slide: Slide, model: LoadedModel, *, threads: int = 4, regions: SlideRegions | None = None
) -> AttentionMap:
    """Return the attention over a slide's positions; `regions`: over those in them."""
    return AttentionPass(PredictionContext(slide, model, threads, regions)).attention()[0]
