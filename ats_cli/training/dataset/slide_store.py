"""The slides of a training: views cached within a memory bound, tiles read when they are drawn."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.nets.geometry import Geometry, geometry_on
from ats_cli.records import ModelSpec, RegionsUsed
from ats_cli.slides import Slide, tissue_mask
from ats_cli.slides.regions.region_files import read_regions
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.view_cache import ViewCache
from ats_cli.training.memory import available_memory

T = TypeVar("T")

# Open slides with a file handle: the system allows a process about a thousand handles.
MAX_HANDLES = 256
# Bytes of a view and its tissue mask a pixel, and of an attention map a position: logits, softmax, curve and sums.
VIEW_BYTES, POSITION_BYTES = 12, 60


@dataclass(frozen=True)
class SlideView:
    """The low-resolution view of a slide, or a crop of it.

    `pixels`: (view rows, view cols, 3) uint8. `allowed`: (rows, cols) bool, the positions that may be drawn. `top`,
    `left`: row and column of the crop's first position on the slide. `regions`: those that it is restricted to.
    """

    pixels: NDArray[np.uint8]
    allowed: NDArray[np.bool_]
    geometry: Geometry
    top: int = 0
    left: int = 0
    regions: RegionsUsed | None = None

    def boxes(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Tiles (n, 4) as x, y, width, height in level-0 pixels, of flat positions (n,) on the grid of `allowed`."""
        row, col = np.divmod(positions, self.allowed.shape[1])
        cols = self.left + self.allowed.shape[1]
        return self.geometry.boxes((row + self.top) * cols + col + self.left, cols)

    def crop(self, side: int, rng: np.random.Generator) -> "SlideView":
        """A square of `side` view pixels around a random allowed position; the whole view if that is smaller."""
        cells = max(1, side // self.geometry.stride)
        rows, cols = self.allowed.shape
        if side == 0 or (cells >= rows and cells >= cols):
            return self
        row, col = divmod(int(rng.choice(np.flatnonzero(self.allowed))), cols)
        top = int(np.clip(row - rng.integers(cells), 0, max(0, rows - cells)))
        left = int(np.clip(col - rng.integers(cells), 0, max(0, cols - cells)))
        allowed = self.allowed[top : top + cells, left : left + cells]
        stride = self.geometry.stride
        pixels = self.pixels[top * stride : (top + cells) * stride, left * stride : (left + cells) * stride]
        return SlideView(np.ascontiguousarray(pixels), allowed, self.geometry, self.top + top, self.left + left)


def read_slide_view(image: Slide, slide: LabelledSlide, spec: ModelSpec, cache: ViewCache | None) -> SlideView:
    """The view of an open slide, from `cache` if it holds it.

    Raises SlideError if the view cannot be read, or if no position may be drawn.
    """
    geometry = geometry_on(spec, image.require_mpp() if spec.unit == "um" else None)
    view = None if cache is None else cache.get(slide, geometry.view_downsample)
    if view is None:
        _refuse_too_large(image, geometry)
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
        regions = read_regions(slide.roi, slide.region_options).on(image)
        allowed &= regions.positions(geometry.pitch, range(allowed.shape[0]), allowed.shape[1])
        if not allowed.any():
            raise regions.nothing_to_draw(image.path.name)
        return SlideView(view, allowed, geometry, regions=regions.used)
    return SlideView(view, allowed, geometry)


def _refuse_too_large(image: Slide, geometry: Geometry) -> None:
    """Raise SlideError for a view that does not fit in memory with the attention over it."""
    rows, cols = image.view_shape(geometry.view_downsample)
    needed = rows * cols * (VIEW_BYTES + POSITION_BYTES / geometry.stride**2)
    available = available_memory()
    if available is not None and needed > available:
        raise SlideError(
            f"{image.path.name}: its low-resolution view of {cols:,} x {rows:,} pixels needs about "
            f"{needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are free. Check its size and mpp with "
            "`ats info`, or raise attention.scale in the recipe.",
            "too large",
        )


class SlideCheck(NamedTuple):
    """What `check_slides` found.

    unreadable: slide id -> a sentence that says why a slide cannot be trained on. in_doubt: slide id -> where the
    coordinates of its regions begin, if they would lie on the slide with the other origin too. no_tissue: those of
    `unreadable` in whose view no tissue was found. outside: slide id -> how many of its regions lie off the slide.
    """

    unreadable: dict[str, str]
    in_doubt: dict[str, str | None]
    no_tissue: frozenset[str] = frozenset()
    outside: Mapping[str, int] = MappingProxyType({})


def check_slides(
    spec: ModelSpec, slides: list[LabelledSlide], threads: int, cache: ViewCache | None = None
) -> SlideCheck:
    """Find the slides that cannot be trained on.

    Their view or the tile of their middle position cannot be read, or their microns per pixel are not known.
    """
    in_doubt: dict[str, str | None] = {}
    outside: dict[str, int] = {}

    def problem(slide: LabelledSlide) -> SlideError | None:
        try:
            with slide.open() as image:
                view = read_slide_view(image, slide, spec, cache)
                if view.regions is not None and not view.regions.certain:
                    in_doubt[slide.slide_id] = view.regions.origin
                if view.regions is not None and view.regions.outside:
                    outside[slide.slide_id] = view.regions.outside
                positions = np.flatnonzero(view.allowed)
                boxes = view.boxes(positions[len(positions) // 2 :][:1])
                list(image.read_tiles(boxes, spec.features.patch_size, spec.background, threads=1))
        except SlideError as error:
            return error
        return None

    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = zip(slides, pool.map(problem, slides), strict=True)
        errors = {slide.slide_id: error for slide, error in found if error is not None}
    return SlideCheck(
        {slide_id: str(error) for slide_id, error in errors.items()},
        {s.slide_id: in_doubt[s.slide_id] for s in slides if s.slide_id in in_doubt},
        frozenset(slide_id for slide_id, error in errors.items() if error.kind == "no tissue"),
        {s.slide_id: outside[s.slide_id] for s in slides if s.slide_id in outside},
    )


class SlideStore:
    """Reads views and tiles of labelled slides in threads. Views are cached up to `memory` bytes.

    A view that does not fit is read from `cache`, or from the slide, each time it is needed. Open slides are closed,
    least recently used first, if they hold too many file handles or more than `memory` bytes of decoded pixels.
    """

    def __init__(self, spec: ModelSpec, memory: int, threads: int, cache: ViewCache | None = None) -> None:
        self.spec, self.memory, self.cache = spec, memory, cache
        self.cached_views: dict[str, SlideView] = {}
        self.cached_bytes = 0
        self.grids: dict[str, SlideView] = {}
        self.open_slides: OrderedDict[str, Slide] = OrderedDict()
        self._pool = ThreadPoolExecutor(max(1, threads))
        self._pending_views: dict[str, Future[SlideView]] = {}
        self._pending_reads: dict[str, list[Future[Any]]] = {}
        self._resident_bytes: dict[str, int] = {}
        self._unmeasured: set[str] = set()
        self._total_handles = self._total_resident = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prefetch(self, slides: list[LabelledSlide]) -> None:
        """Start reading the views of a later batch that are not cached."""
        missing = [s for s in slides if s.slide_id not in self.cached_views and s.slide_id not in self._pending_views]
        if missing:
            self._open_all(slides)
        for slide in missing:
            if slide.slide_id not in self._pending_views:
                self._pending_views[slide.slide_id] = self._submit(slide, self._read_view, slide)

    def views(self, slides: list[LabelledSlide]) -> list[SlideView]:
        """The views of a batch. Raises SlideError if one cannot be read."""
        self._open_all(slides)
        self.prefetch(slides)
        views = [self.cached_views.get(s.slide_id) or self._pending_views[s.slide_id].result() for s in slides]
        for slide in slides:
            self._pending_views.pop(slide.slide_id, None)
        for slide, view in zip(slides, views, strict=True):
            size = view.pixels.nbytes + view.allowed.nbytes
            if slide.slide_id not in self.cached_views and self.cached_bytes + size <= self.memory:
                self.cached_views[slide.slide_id] = view
                self.cached_bytes += size
        return views

    def grid(self, slide: LabelledSlide) -> SlideView:
        """The view without its pixels: which positions may be drawn. Raises SlideError if it cannot be read."""
        if slide.slide_id not in self.grids:
            self._add_grid(slide, self.views([slide])[0])
        return self.grids[slide.slide_id]

    def computed(
        self, slide: LabelledSlide, kind: str, compute: Callable[[], NDArray[np.float16]]
    ) -> NDArray[np.float16]:
        """What `compute` returns for a slide, from the disk where it is cached. `kind`: what it is."""
        downsample = self.grid(slide).geometry.view_downsample
        found = None if self.cache is None else self.cache.get(slide, downsample, kind)
        if found is None:
            found = compute()
            if self.cache is not None:
                self.cache.put(slide, downsample, found, kind)
        return np.asarray(found)

    def read_tiles(
        self, slides: list[LabelledSlide], boxes: list[NDArray[np.float64]]
    ) -> list[Future[NDArray[np.uint8]]]:
        """Start reading the patches (n, p, p, 3) uint8 of each slide's boxes (n, 4) in level-0 pixels.

        A future raises SlideError if a tile cannot be read.
        """
        self._open_all(slides)
        return [self._submit(slide, self._read, slide, own) for slide, own in zip(slides, boxes, strict=True)]

    def _add_grid(self, slide: LabelledSlide, view: SlideView) -> None:
        self.grids[slide.slide_id] = replace(view, pixels=np.empty((0, 0, 3), np.uint8))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        while self.open_slides:
            self.open_slides.popitem()[1].close()

    def _submit(self, slide: LabelledSlide, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run `work` in a thread. The slide stays open until it is done."""
        future = self._pool.submit(work, *arguments)
        self._unmeasured.add(slide.slide_id)
        unfinished = [f for f in self._pending_reads.get(slide.slide_id, []) if not f.done()]
        self._pending_reads[slide.slide_id] = [*unfinished, future]
        return future

    def _read_view(self, slide: LabelledSlide) -> SlideView:
        return read_slide_view(self.open_slides[slide.slide_id], slide, self.spec, self.cache)

    def _read(self, slide: LabelledSlide, boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
        patches = self.open_slides[slide.slide_id].read_tiles(
            boxes, self.spec.features.patch_size, self.spec.background, threads=1
        )
        return np.stack(list(patches))

    def _open_all(self, slides: list[LabelledSlide]) -> None:
        """Open these slides, and close others that exceed the bounds."""
        for slide in slides:
            if slide.slide_id not in self.open_slides:
                opened = self.open_slides[slide.slide_id] = slide.open()
                self._unmeasured.add(slide.slide_id)
                self._total_handles += opened.holds_handle
            self.open_slides.move_to_end(slide.slide_id)
        for slide_id in self._unmeasured & self.open_slides.keys():
            self._update_resident_bytes(slide_id)
        needed = {slide.slide_id for slide in slides}
        for slide_id in list(self.open_slides):
            if self._total_handles <= MAX_HANDLES and self._total_resident <= self.memory:
                break
            if slide_id in needed or not all(future.done() for future in self._pending_reads.get(slide_id, ())):
                continue
            oldest = self.open_slides.pop(slide_id)
            self._total_handles -= oldest.holds_handle
            self._total_resident -= self._resident_bytes.pop(slide_id)
            self._pending_reads.pop(slide_id, None)
            oldest.close()

    def _update_resident_bytes(self, slide_id: str) -> None:
        """Measure again: a plain image is decoded at its first read. While it is read, it stays to be measured."""
        if all(future.done() for future in self._pending_reads.get(slide_id, ())):
            self._unmeasured.discard(slide_id)
        resident = self.open_slides[slide_id].resident_bytes
        self._total_resident += resident - self._resident_bytes.get(slide_id, 0)
        self._resident_bytes[slide_id] = resident
