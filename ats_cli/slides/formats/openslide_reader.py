"""Vendor formats through OpenSlide: Aperio, Hamamatsu, Mirax, Leica, Philips, Ventana, Trestle, and some DICOM."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from ats_cli.errors import SlideError
from ats_cli.slides.formats.companions import slide_files, with_companions
from ats_cli.slides.formats.stated_number import stated_number
from ats_cli.slides.reader import (
    MPP_OF_POWER,
    Box,
    Damage,
    Level,
    Pixels,
    Region,
    cut,
    level_downsample,
    over_white,
    unreadable,
)

_CACHE_BYTES = 32 * 1024 * 1024
# Large boxes are read in squares with sides of this many pixels, so threads share the work and memory stays small.
_PIECE = 1024
_AHEAD_PIXELS = 16 * 1024 * 1024
_MOST_TILE_PIXELS = 1 << 26
_DICOM_JPEG = "1.2.840.10008.1.2.4.50"


class OpenSlideReader:
    """Reads through OpenSlide, or through a library with OpenSlide's interface.

    Each thread has a handle, since OpenSlide locks one while it decodes. Handles are opened when first needed.

    open_handle: opens a file with the library: OpenSlide, or for another format a class with `properties`,
    `level_dimensions`, `level_downsamples`, `read_region` and `close`, as openslide-python has them.
    name: the name of that format.
    """

    absent_is_white = True
    reduced: tuple[Level, ...] = ()
    holds_handle = True
    plane: str | None = None
    bytes_read: int | None = None  # OpenSlide does not count them

    def __init__(self, path: Path, open_handle: Callable[[Path], Any] | None = None, name: str = "openslide") -> None:
        self.name = name
        self._path = path
        self._file = with_companions(path)
        self.identity: str | None = None
        self.files = slide_files(self._file)
        self.bytes_total: int | None = sum(file.stat().st_size for file in self.files)
        self._handles: queue.LifoQueue[Any] = queue.LifoQueue()
        self._open_handle = open_handle or _with_cache(openslide.OpenSlideCache(_CACHE_BYTES))
        try:
            slide = self._open_handle(self._file)
            self.properties = dict(slide.properties)
            self.vendor = self.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
            sizes = slide.level_dimensions
        except Exception as error:
            library = "OpenSlide" if open_handle is None else f"the reader {name}"
            raise unreadable(path, error, f"could not be opened by {library}") from error
        self._handles.put(slide)
        _refuse_wrong_colours(self.properties)
        self.mpp, self.mpp_source = _mpp(self.properties)
        # OpenSlide's number of each level. Levels that are not reductions of the first are left out.
        found = [(number, _level(self.properties, sizes, number)) for number in range(len(sizes))]
        self._numbers = [number for number, level in found if level is not None]
        self.levels = tuple(level for _, level in found if level is not None)
        if any(level.tile_width * level.tile_height > _MOST_TILE_PIXELS for level in self.levels):
            # OpenSlide ends the process if it cannot allocate a tile.
            raise SlideError("its tiles are too large to be read one by one. Convert it to a tiled TIFF.")
        self._openslide_downsamples = [float(slide.level_downsamples[number]) for number in self._numbers]

    @property
    def resident_bytes(self) -> int:
        return 0 if self._handles.empty() else _CACHE_BYTES

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        # Read only a few boxes ahead, so memory stays small for any number and size of boxes.
        ahead: deque[tuple[Box, list[tuple[Box, Future[Region]]]]] = deque()
        with ThreadPoolExecutor(max(1, threads)) as pool:
            try:
                for box in boxes:
                    ahead.append(
                        (box, [(p, pool.submit(self._read_piece, level, p)) for p in cut(box, _PIECE, _PIECE)])
                    )
                    while sum(b[2] * b[3] for b, _ in ahead) > _AHEAD_PIXELS:
                        yield _finished(*ahead.popleft())
                while ahead:
                    yield _finished(*ahead.popleft())
            finally:
                for _, pieces in ahead:
                    for _, future in pieces:
                        future.cancel()

    def absent(self, level: int) -> None:
        """Return None: OpenSlide does not report missing tiles in advance. They are read as white."""

    def color_profile(self) -> bytes | None:
        with closing(self._open_handle(self._file)) as slide:
            profile = getattr(slide, "color_profile", None)
            return None if profile is None else bytes(profile.tobytes())

    def close(self) -> None:
        while not self._handles.empty():
            self._handles.get_nowait().close()

    def _read_piece(self, level: int, box: Box) -> Region:
        """Read one box. If that fails, read it again by native tiles, to find which of them are damaged."""
        problem = ""
        for _ in range(2):
            # After an error an OpenSlide handle stays unusable, so try once more with a new one.
            slide = self._handle(level, box)
            try:
                pixels = self._region(slide, level, box)
            except Exception as error:  # of any library that reads the file
                slide.close()
                problem = str(unreadable(self._path, error, _place(level, box)))
            else:
                self._handles.put(slide)
                return Region(pixels)
        lv = self.levels[level]
        tiles = list(cut(box, lv.tile_width, lv.tile_height))
        if len(tiles) == 1:
            return Region(np.full((box[3], box[2], 3), 255, dtype=np.uint8), (Damage(box, problem),))
        return _paste(box, [(tile, self._read_piece(level, tile)) for tile in tiles])

    def _handle(self, level: int, box: Box) -> Any:
        try:
            return self._handles.get_nowait()
        except queue.Empty:
            return self._fresh(level, box)

    def _region(self, slide: Any, level: int, box: Box) -> Pixels:
        x, y, width, height = box
        # OpenSlide takes the corner in level-0 pixels and divides it by its own downsample. If a level's size was
        # rounded, the corner is off by up to half a level-0 pixel, and pixels at the edge become partly transparent.
        exact = self._openslide_downsamples[level]
        corner = (round(x * exact), round(y * exact))
        rgba = np.asarray(slide.read_region(corner, self._numbers[level], (width, height)))
        alpha = rgba[..., 3]
        if not exact.is_integer():
            alpha = np.where(alpha >= 128, np.uint8(255), alpha)
        return over_white(rgba[..., :3], alpha)

    def _fresh(self, level: int, box: Box) -> Any:
        try:
            return self._open_handle(self._file)
        except Exception as error:
            raise unreadable(self._path, error, _place(level, box)) from error


def _with_cache(cache: openslide.OpenSlideCache) -> Callable[[Path], Any]:
    """Return a function that opens files with OpenSlide, all handles with one cache of decoded tiles."""

    def open_handle(file: Path) -> openslide.OpenSlide:
        slide = openslide.OpenSlide(file)
        slide.set_cache(cache)
        return slide

    return open_handle


def detect_vendor(path: Path) -> str | None:
    """Return the vendor that OpenSlide detects by the file's content; None if it detects none."""
    file = with_companions(path)
    try:
        vendor: str | None = openslide.OpenSlide.detect_format(file)
    except Exception:  # other formats report what is wrong with the file
        return None
    return vendor


def _level(properties: dict[str, str], sizes: Sequence[tuple[int, int]], number: int) -> Level | None:
    width, height = sizes[number]
    downsample = level_downsample(sizes[0], (width, height))
    if downsample is None:
        return None
    tile = [int(properties.get(f"openslide.level[{number}].tile-{side}", 256)) for side in ("width", "height")]
    return Level(width, height, downsample, tile[0], tile[1], "")


def _mpp(properties: dict[str, str]) -> tuple[tuple[float, float] | None, str | None]:
    x, y = (
        stated_number(properties.get(key)) for key in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
    )
    if x is not None and y is not None:
        return (x, y), openslide.PROPERTY_NAME_MPP_X
    power = stated_number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
    guess = MPP_OF_POWER.get(power or 0)
    return ((guess, guess), "objective power") if guess else (None, None)


def _refuse_wrong_colours(properties: dict[str, str]) -> None:
    """Refuse DICOM labelled RGB with baseline JPEG: it usually holds YCbCr, and OpenSlide trusts the label."""
    if (
        properties.get("dicom.PhotometricInterpretation") == "RGB"
        and properties.get("dicom.TransferSyntaxUID") == _DICOM_JPEG
    ):
        raise SlideError(
            "this DICOM is labelled RGB but compressed as JPEG, and its colours may come out wrong. "
            "Leave out --backend."
        )


def _finished(box: Box, pieces: list[tuple[Box, Future[Region]]]) -> Region:
    return _paste(box, [(piece, future.result()) for piece, future in pieces])


def _paste(box: Box, parts: Sequence[tuple[Box, Region]]) -> Region:
    if len(parts) == 1:
        return parts[0][1]
    x, y, width, height = box
    out = np.empty((height, width, 3), dtype=np.uint8)
    for (left, top, w, h), region in parts:
        out[top - y : top - y + h, left - x : left - x + w] = region.pixels
    return Region(out, tuple(damage for _, region in parts for damage in region.damage))


def _place(level: int, box: Box) -> str:
    return f"the region at x {box[0]}, y {box[1]} of level {level} ({box[2]} x {box[3]} pixels) could not be read"
