"""How near reading comes to the decoder's own speed.

    python -m benchmarks.reading SLIDE [--single SLIDE]

SLIDE is a tiled JPEG TIFF with a pyramid and SINGLE one without (`python -m benchmarks.make_slide`). Random level-0
tiles, aligned to the file's own tiles and not, and the low-resolution view, by 1 and 2 threads with the file in the
page cache. The floor is the decoder alone, on the same compressed bytes in memory; unaligned, decoding and cropping;
for a view, decoding and putting together the level that it is made of.
All methods take turns in shuffled order over fresh random places, medians are printed, and each as a share of the
floor's speed with the same number of threads.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray

from ats_cli.slides import open_slide
from ats_cli.slides.pixels.jpeg import REDUCTIONS, JpegColours, decode_jpeg

Tiles = list[tuple[int, int]]
"""(x, y) of level-0 corners."""


class Floor:
    """The decoder alone: every compressed tile of some levels in memory, and no file."""

    def __init__(self, path: Path) -> None:
        self.tiff = tifffile.TiffFile(path)
        self.pages = [level.pages[0] for level in self.tiff.series[0].levels]

    def load(self, level: int, numbers: list[int]) -> dict[int, bytes]:
        page, handle = self.pages[level], self.tiff.filehandle
        found = {}
        for number in numbers:
            handle.seek(page.dataoffsets[number])
            found[number] = handle.read(page.databytecounts[number])
        return found

    def decode(self, level: int, data: bytes) -> NDArray[np.uint8]:
        page = self.pages[level]
        inside = 2 if page.keyframe.photometric == 2 else None
        return imagecodecs.jpeg8_decode(data, tables=page.jpegtables, colorspace=inside, outcolorspace=2)

    def assemble(self, level: int, data: dict[int, bytes], threads: int, by: int = 1) -> NDArray[np.uint8]:
        """The level, at 1 / `by` of its size, from its compressed tiles in memory."""
        page = self.pages[level].keyframe
        tile, across = page.tilewidth // by, -(-page.imagewidth // page.tilewidth)
        out = np.empty((page.imagelength // by, page.imagewidth // by, 3), np.uint8)

        def decode(encoded: bytes) -> NDArray[np.uint8]:
            if by == 1:
                return self.decode(level, encoded)
            return decode_jpeg(encoded, self.pages[level].jpegtables, JpegColours(3, page.photometric == 6), by)

        def place(item: tuple[int, bytes]) -> None:
            top, left = item[0] // across * tile, item[0] % across * tile
            part = out[top : top + tile, left : left + tile]
            part[:] = decode(item[1])[: part.shape[0], : part.shape[1]]

        run_in(threads, place, list(data.items()))
        return out

    def under(self, x: int, y: int, size: int) -> list[int]:
        page = self.pages[0].keyframe
        across = -(-page.imagewidth // page.tilewidth)
        rows = range(y // page.tilelength, (y + size - 1) // page.tilelength + 1)
        cols = range(x // page.tilewidth, (x + size - 1) // page.tilewidth + 1)
        return [row * across + col for row in rows for col in cols]


def run_in(threads: int, work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    if threads == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def tile_methods(path: Path, size: int, threads: int) -> Iterator[tuple[str, Callable[[Tiles], Callable[[], Any]]]]:
    """(name, prepare); prepare(corners) gives the call that is timed."""
    floor = Floor(path)
    tile = floor.pages[0].keyframe.tilewidth

    def decode_only(corners: Tiles) -> Callable[[], Any]:
        jobs = [(corner, floor.load(0, floor.under(*corner, size))) for corner in corners]

        def patch(job: tuple[tuple[int, int], dict[int, bytes]]) -> NDArray[np.uint8]:
            (x, y), data = job
            decoded = {number: floor.decode(0, encoded) for number, encoded in data.items()}
            if len(decoded) == 1:
                return next(iter(decoded.values()))
            across = -(-floor.pages[0].keyframe.imagewidth // tile)
            out = np.empty((size, size, 3), np.uint8)
            for number, pixels in decoded.items():
                top, left = number // across * tile, number % across * tile
                y0, y1, x0, x1 = max(y, top), min(y + size, top + tile), max(x, left), min(x + size, left + tile)
                out[y0 - y : y1 - y, x0 - x : x1 - x] = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
            return out

        return lambda: run_in(threads, patch, jobs)

    slide = open_slide(path)

    def ats(corners: Tiles) -> Callable[[], Any]:
        boxes = np.array([(x, y, size, size) for x, y in corners], float)
        return lambda: list(slide.read_tiles(boxes, size, threads=threads))

    handles = [openslide.OpenSlide(path) for _ in range(threads)]

    def by_openslide(corners: Tiles) -> Callable[[], Any]:
        def share(k: int) -> list[NDArray[np.uint8]]:
            own = corners[k::threads]
            return [np.asarray(handles[k].read_region(xy, 0, (size, size)).convert("RGB")) for xy in own]

        return lambda: run_in(threads, share, list(range(threads)))

    yield "decode only", decode_only
    yield "ats", ats
    yield "openslide", by_openslide
    try:
        from cucim import CuImage
    except ImportError:
        return
    image = CuImage(str(path))

    def by_cucim(corners: Tiles) -> Callable[[], Any]:
        places = [(int(x), int(y)) for x, y in corners]
        if threads == 1:
            return lambda: [np.asarray(image.read_region(xy, (size, size), 0)) for xy in places]
        batch = {"batch_size": 16, "num_workers": threads}
        return lambda: [np.asarray(part) for part in image.read_region(places, (size, size), 0, **batch)]

    yield "cucim", by_cucim


def compare_tiles(path: Path, count: int, repeats: int, tissue: bool) -> None:
    size, wanted = open_slide(path).levels[0].tile_width, _wanted(path, tissue)
    rng = np.random.default_rng(0)
    print(
        f"{path.name}: {count} {'tissue' if tissue else 'random'} tiles of {size} px, {repeats} repeats, "
        "median tiles/s (share of decode only)"
    )
    print(f"{'':14s}" + "".join(f"{f'{a}, {t} thread' + 's' * (t > 1):>28s}" for a in KINDS for t in (1, 2)))
    seconds: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for threads in (1, 2):
        methods = list(tile_methods(path, size, threads))
        for _ in range(repeats):
            for kind in KINDS:
                corners = _corners(wanted, size, count, rng, aligned=kind == "aligned")
                random.Random(len(seconds)).shuffle(methods)
                for name, prepare in methods:
                    seconds[name, kind, threads].append(timed(prepare(corners)))
    _table(seconds, ("decode only", "ats", "openslide", "cucim"), count)


clock = time.perf_counter
KINDS = ("aligned", "unaligned")


def _corners(wanted: NDArray[np.bool_], size: int, count: int, rng: np.random.Generator, aligned: bool) -> Tiles:
    """Places among the wanted native tiles; none in the last row and column."""
    row, col = rng.permutation(np.argwhere(wanted[:-1, :-1]))[:count].T
    shift = (0, 0) if aligned else rng.integers(1, size, (2, count))
    return list(zip((col * size + shift[0]).tolist(), (row * size + shift[1]).tolist(), strict=True))


def _wanted(path: Path, tissue: bool) -> NDArray[np.bool_]:
    """Native tiles of level 0 to draw from, (rows, cols). Tissue takes more bytes than the mean, empty glass few."""
    page = tifffile.TiffFile(path).pages.first
    counts = np.array(page.databytecounts).reshape(-1, -(-page.imagewidth // page.tilewidth))
    return counts > counts.mean() if tissue else counts > 0


def _table(seconds: dict[tuple[str, str, int], list[float]], names: tuple[str, ...], count: int) -> None:
    for name in names:
        cells = []
        for kind in KINDS:
            for threads in (1, 2):
                own, floor = seconds.get((name, kind, threads)), seconds["decode only", kind, threads]
                if own:
                    rate = count / float(np.median(own))
                    # Turn by turn beside the floor: what else the machine does falls on both.
                    share = float(np.median(np.array(floor) / np.array(own)))
                    cells.append(f"{rate:>18.0f} ({share:.2f})   ")
        if cells:
            print(f"{name:14s}" + "".join(f"{cell:>28s}" for cell in cells))


def warm(path: Path) -> None:
    """Read a file once, so that it is in the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def timed(work: Callable[[], Any]) -> float:
    gc.collect()
    start = clock()
    kept = work()
    seconds = clock() - start
    del kept
    return seconds


def compare_views(path: Path, downsample: float, repeats: int) -> None:
    """The low-resolution view, and the decoder alone on the native tiles that it comes from.

    Where the file has no level near, tiles are decoded reduced, and so are those of the floor; beside it stands what
    decoding them whole takes.
    """
    slide, floor = open_slide(path), Floor(path)
    level = max(i for i, lv in enumerate(slide.levels) if lv.downsample <= downsample)
    by = max((f for f in (1, *REDUCTIONS) if slide.levels[level].downsample * f <= downsample), default=1)
    if level + 1 < len(slide.levels):
        by = 1
    data = floor.load(level, list(range(len(floor.pages[level].dataoffsets))))
    megapixels = slide.levels[level].width * slide.levels[level].height / 1e6
    for threads in (1, 2):
        alone, whole, ours = [], [], []
        for _ in range(repeats):
            alone.append(timed(partial(floor.assemble, level, data, threads, by)))
            ours.append(timed(partial(slide.read_view, downsample, threads=threads)))
            if by > 1:
                whole.append(timed(partial(floor.assemble, level, data, threads, 1)))
        print(
            f"{path.name}: view at downsample {downsample:g} from a level of {megapixels:.0f} megapixels"
            f"{f' decoded to 1/{by}' if by > 1 else ''}, {threads} threads: {np.median(ours):.3f} s, decode and put "
            f"together {np.median(alone):.3f} s, share of its speed {np.median(np.array(alone) / np.array(ours)):.2f}"
            + (f"; decoded whole {np.median(whole):.3f} s" if whole else "")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--single", type=Path, help="a slide with one level: its view is made of all its tiles")
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--tissue", action="store_true", help="tiles of tissue only: they take longer to decode")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--cpu", action="store_true", help="seconds of processor, of all threads together, for busy machines"
    )
    arguments = parser.parse_args()
    global clock
    clock = time.process_time if arguments.cpu else time.perf_counter
    for path in filter(None, (arguments.slide, arguments.single)):
        warm(path)
    compare_tiles(arguments.slide, arguments.tiles, arguments.repeats, arguments.tissue)
    coarsest = open_slide(arguments.slide).levels[-1].downsample
    for downsample in (coarsest, coarsest * 1.1, coarsest * 2):
        compare_views(arguments.slide, downsample, arguments.repeats)
    if arguments.single:
        for downsample in (16, 17.6):
            compare_views(arguments.single, downsample, 1)


if __name__ == "__main__":
    main()
