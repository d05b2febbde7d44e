"""Slides at hand while training: views kept within a memory bound, tiles read when drawn."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ats_cli.nets.geometry import Geometry, geometry_on
from ats_cli.records import ModelSpec, SlideError
from ats_cli.slides import Slide, tissue_mask
from ats_cli.slides.regions import inside, read_regions
from ats_cli.training.data import LabelledSlide
from ats_cli.training.views import ViewCache

T = TypeVar("T")

# Slides that hold a file handle while open; the system lends about a thousand to a process.
MOST_HANDLES = 256


@dataclass(frozen=True)
class Seen:
    """What is kept of a slide: its view (rows, cols, 3) uint8, the positions that may be drawn, its geometry.

    Of a crop, `top` and `left` are the row and column of its first position on the slide.
    """

    view: NDArray[np.uint8]
    allowed: NDArray[np.bool_]
    geometry: Geometry
    top: int = 0
    left: int = 0

    def boxes(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Tiles (n, 4) as x, y, width, height in level-0 pixels, of flat positions (n,) on the grid of `allowed`."""
        row, col = np.divmod(positions, self.allowed.shape[1])
        cols = self.left + self.allowed.shape[1]
        return self.geometry.boxes((row + self.top) * cols + col + self.left, cols)

    def crop(self, side: int, rng: np.random.Generator) -> "Seen":
        """A square of `side` pixels of the view, or all of it where it is smaller, around an allowed position."""
        cells = max(1, side // self.geometry.stride)
        rows, cols = self.allowed.shape
        if side == 0 or (cells >= rows and cells >= cols):
            return self
        row, col = divmod(int(rng.choice(np.flatnonzero(self.allowed))), cols)
        top = int(np.clip(row - rng.integers(cells), 0, max(0, rows - cells)))
        left = int(np.clip(col - rng.integers(cells), 0, max(0, cols - cells)))
        allowed = self.allowed[top : top + cells, left : left + cells]
        stride = self.geometry.stride
        view = self.view[top * stride : (top + cells) * stride, left * stride : (left + cells) * stride]
        return Seen(np.ascontiguousarray(view), allowed, self.geometry, self.top + top, self.left + left)


def see_slide(image: Slide, slide: LabelledSlide, spec: ModelSpec, cache: ViewCache | None) -> Seen:
    """The view of an open slide. Raises SlideError where it cannot be read."""
    geometry = geometry_on(spec, image.require_mpp() if spec.unit == "um" else None)
    view = None if cache is None else cache.get(slide, geometry.view_downsample)
    if view is None:
        view = image.read_view(geometry.view_downsample, threads=1)
        if cache is not None:
            cache.put(slide, geometry.view_downsample, view)
    mask = tissue_mask(view) if spec.attention.tissue_only else np.ones(view.shape[:2], bool)
    allowed = geometry.positions_in(mask)
    if not allowed.any():
        raise SlideError(
            f"{image.path.name}: no tissue found in the low-resolution view, and predictions would refuse it. A recipe "
            "with attention.tissue_only = false takes it as it is.",
            "no tissue",
        )
    if slide.roi is not None:
        allowed &= _in_regions(slide.roi, geometry, allowed.shape)
        if not allowed.any():
            name = image.path.name
            raise SlideError(f"{name}: none of its tissue lies in the regions of {slide.roi.name}. Check them.")
    return Seen(view, allowed, geometry)


def _in_regions(roi: Path, geometry: Geometry, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which positions (rows, cols) have their centre in the regions."""
    y, x = (np.asarray((np.arange(n) + 0.5) * geometry.pitch, np.float64) for n in shape)
    return inside(read_regions(roi), x, y)


def unreadable(
    spec: ModelSpec, slides: list[LabelledSlide], threads: int, cache: ViewCache | None = None
) -> dict[str, str]:
    """The slides, by id, that cannot be learnt from, and the sentence why: their view or their middle tile cannot be
    read, or they lack the microns per pixel."""

    def problem(slide: LabelledSlide) -> str | None:
        try:
            with slide.open() as image:
                seen = see_slide(image, slide, spec, cache)
                places = np.flatnonzero(seen.allowed)
                boxes = seen.boxes(places[len(places) // 2 :][:1])
                list(image.read_tiles(boxes, spec.features.patch_size, spec.background, threads=1))
        except SlideError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = zip(slides, pool.map(problem, slides), strict=True)
        return {slide.slide_id: why for slide, why in found if why is not None}


class SlideStore:
    """Reads views and tiles of labelled slides, in threads, keeping what fits into `memory` bytes.

    A view that does not fit is taken from `cache`, else read again, when its slide comes up again.
    """

    def __init__(self, spec: ModelSpec, memory: int, threads: int, cache: ViewCache | None = None) -> None:
        self.spec, self.memory, self.cache = spec, memory, cache
        self.pool = ThreadPoolExecutor(max(1, threads))
        self.seen: dict[str, Seen] = {}
        self.held = 0
        self.open: OrderedDict[str, Slide] = OrderedDict()
        self.weights: dict[str, int] = {}
        self.coming: dict[str, Future[Seen]] = {}
        self.reading: dict[str, list[Future[Any]]] = {}
        self.handles = self.resident = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect(self, slides: list[LabelledSlide]) -> None:
        """Begin to read the views of a batch that is to come, where they are not at hand."""
        missing = [s for s in slides if s.slide_id not in self.seen and s.slide_id not in self.coming]
        if missing:
            self._open_all(slides)
        for slide in missing:
            if slide.slide_id not in self.coming:
                self.coming[slide.slide_id] = self._submit(slide, self._see, slide)

    def views(self, slides: list[LabelledSlide]) -> list[Seen]:
        """The views of a batch. Raises SlideError when one cannot be read."""
        self._open_all(slides)
        self.expect(slides)
        found = [self.seen.get(slide.slide_id) or self.coming[slide.slide_id].result() for slide in slides]
        for slide in slides:
            self.coming.pop(slide.slide_id, None)
        for slide, seen in zip(slides, found, strict=True):
            size = seen.view.nbytes + seen.allowed.nbytes
            if slide.slide_id not in self.seen and self.held + size <= self.memory:
                self.seen[slide.slide_id] = seen
                self.held += size
        return found

    def read(self, slides: list[LabelledSlide], boxes: list[NDArray[np.float64]]) -> list[Future[NDArray[np.uint8]]]:
        """Begin to read the patches (n, p, p, 3) of each slide's boxes (n, 4)."""
        self._open_all(slides)
        return [self._submit(slide, self._read, slide, some) for slide, some in zip(slides, boxes, strict=True)]

    def tiles(self, slides: list[LabelledSlide], boxes: list[NDArray[np.float64]]) -> list[NDArray[np.uint8]]:
        """The patches themselves."""
        return [future.result() for future in self.read(slides, boxes)]

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        while self.open:
            self.open.popitem()[1].close()

    def _submit(self, slide: LabelledSlide, work: Callable[..., T], *given: Any) -> Future[T]:
        """Work on an open slide in a thread; until it is done, the slide is not closed."""
        future = self.pool.submit(work, *given)
        earlier = [f for f in self.reading.get(slide.slide_id, []) if not f.done()]
        self.reading[slide.slide_id] = [*earlier, future]
        return future

    def _see(self, slide: LabelledSlide) -> Seen:
        return see_slide(self.open[slide.slide_id], slide, self.spec, self.cache)

    def _read(self, slide: LabelledSlide, boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
        patches = self.open[slide.slide_id].read_tiles(
            boxes, self.spec.features.patch_size, self.spec.background, threads=1
        )
        return np.stack(list(patches))

    def _open_all(self, slides: list[LabelledSlide]) -> None:
        """Have these slides open, and close those that were used longest ago."""
        for slide in slides:
            if slide.slide_id not in self.open:
                opened = self.open[slide.slide_id] = slide.open()
                self.handles += opened.holds_handle
            self.open.move_to_end(slide.slide_id)
        for slide_id in self.open:
            self._weigh(slide_id)
        needed = {slide.slide_id for slide in slides}
        for slide_id in list(self.open):
            if self.handles <= MOST_HANDLES and self.resident <= self.memory:
                break
            if slide_id in needed or not all(future.done() for future in self.reading.get(slide_id, ())):
                continue
            oldest = self.open.pop(slide_id)
            self.handles -= oldest.holds_handle
            self.resident -= self.weights.pop(slide_id)
            self.reading.pop(slide_id, None)
            oldest.close()

    def _weigh(self, slide_id: str) -> None:
        """Count anew what an open slide holds in memory: a plain image is decoded at its first read."""
        now = self.open[slide_id].resident_bytes
        self.resident += now - self.weights.get(slide_id, 0)
        self.weights[slide_id] = now
