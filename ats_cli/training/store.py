"""Slides at hand while training: views kept within a memory bound, tiles read when drawn."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.nets.geometry import Geometry, geometry_on
from ats_cli.records import ModelSpec
from ats_cli.slides import Slide, open_slide, tissue_mask
from ats_cli.training.data import LabelledSlide

# Slides that hold a file handle while open; the system lends about a thousand to a process.
MOST_HANDLES = 256


@dataclass(frozen=True)
class Seen:
    """What is kept of a slide: its view (rows, cols, 3) uint8, the positions that may be drawn, its geometry."""

    view: NDArray[np.uint8]
    allowed: NDArray[np.bool_]
    geometry: Geometry


class SlideStore:
    """Reads views and tiles of labelled slides, in threads, keeping what fits into `memory` bytes.

    A view that does not fit is read again when its slide comes up again.
    """

    def __init__(self, spec: ModelSpec, memory: int, threads: int) -> None:
        self.spec, self.memory = spec, memory
        self.pool = ThreadPoolExecutor(max(1, threads))
        self.seen: dict[str, Seen] = {}
        self.held = 0
        self.open: OrderedDict[str, Slide] = OrderedDict()
        self.weights: dict[str, int] = {}
        self.handles = self.resident = 0

    def views(self, slides: list[LabelledSlide]) -> list[Seen]:
        """The views of a batch. Raises SlideError when one cannot be read."""
        self._open_all(slides)
        found = list(self.pool.map(self._see, slides))
        for slide, seen in zip(slides, found, strict=True):
            size = seen.view.nbytes + seen.allowed.nbytes
            if slide.slide_id not in self.seen and self.held + size <= self.memory:
                self.seen[slide.slide_id] = seen
                self.held += size
        return found

    def tiles(self, slides: list[LabelledSlide], boxes: list[NDArray[np.float64]]) -> list[NDArray[np.uint8]]:
        """Patches (n, p, p, 3) of each slide's boxes (n, 4)."""
        self._open_all(slides)
        return list(self.pool.map(self._read, slides, boxes))

    def close(self) -> None:
        self.pool.shutdown()
        while self.open:
            self.open.popitem()[1].close()

    def _see(self, slide: LabelledSlide) -> Seen:
        kept = self.seen.get(slide.slide_id)
        if kept is not None:
            return kept
        image = self.open[slide.slide_id]
        geometry = geometry_on(self.spec, image.require_mpp() if self.spec.unit == "um" else None)
        view = image.read_view(geometry.view_downsample, threads=1)
        mask = tissue_mask(view) if self.spec.attention.tissue_only else np.ones(view.shape[:2], bool)
        if not mask.any():
            mask[:] = True  # a training slide without tissue still has a label: let the nets see it as it is
        return Seen(view, geometry.positions_in(mask), geometry)

    def _read(self, slide: LabelledSlide, boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
        patches = self.open[slide.slide_id].read_tiles(
            boxes, self.spec.features.patch_size, self.spec.background, threads=1
        )
        return np.stack(list(patches))

    def _open_all(self, slides: list[LabelledSlide]) -> None:
        """Have these slides open, and close those that were used longest ago."""
        for slide in slides:
            if slide.slide_id not in self.open:
                opened = self.open[slide.slide_id] = open_slide(slide.path, mpp=slide.mpp)
                self.handles += opened.holds_handle
            self.open.move_to_end(slide.slide_id)
            self._weigh(slide.slide_id)
        while len(self.open) > len(slides) and (self.handles > MOST_HANDLES or self.resident > self.memory):
            slide_id, oldest = self.open.popitem(last=False)
            self.handles -= oldest.holds_handle
            self.resident -= self.weights.pop(slide_id)
            oldest.close()

    def _weigh(self, slide_id: str) -> None:
        """Count anew what an open slide holds in memory: a plain image is decoded at its first read."""
        now = self.open[slide_id].resident_bytes
        self.resident += now - self.weights.get(slide_id, 0)
        self.weights[slide_id] = now
