"""Read OME-Zarr, and arrays without metadata, from a folder, a zip or any store. Each chunk is read once, as a whole.

A chunk that the store does not hold has the array's fill value. If that value shows as background (white, or black for
not scanned), the chunk is a hole; if a finer level has pixels there, those are read. If the value does not show as
background, or there is none, a hole cannot be told from a lost chunk, and the chunk counts as damage.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs.numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.formats.zarr.bounds import bounded, most_bytes, refuse_sizes
from ats_cli.slides.formats.zarr.chunks import Cell, Chunks, Span
from ats_cli.slides.formats.zarr.ngff import NgffImage, find_image
from ats_cli.slides.formats.zarr.store import CountingStore, local_store
from ats_cli.slides.pixels.absence import Absence
from ats_cli.slides.pixels.sample_kind import PixelKind, shown_range, to_rgb
from ats_cli.slides.pixels.tile_assembly import read_tiled, tiles_across, tiles_down
from ats_cli.slides.plane import Plane, pick, pick_channel, plane_text
from ats_cli.slides.reader import Box, InFinerLevel, Level, Pixels, Region, unreadable
from ats_cli.slides.remote.path import AnyPath

# Smaller chunks are grouped into native tiles with sides of at least this many pixels.
_LEAST_SIDE = 64
# Fewest pixels of a chunk: smaller ones take longer to look up than to decode.
_LEAST_CHUNK = 16
_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
# Background in 8 bits: all colours at or above _WHITE, or all at or below _BLACK.
_WHITE, _BLACK = 230, 8
_FAR_THREADS = 32
_IN_FINER = "is absent, and is read from a finer level."

# imagecodecs provides the image codecs of Zarr, such as JPEG.
imagecodecs.numcodecs.register_codecs(verbose=False)


class ZarrReader:
    """Reads one plane of one image. `store`: holds the Zarr if `path` is not local.

    Raises SlideError if there is no image, or if its pixels are not read.
    """

    name = "zarr"
    absent_is_white = False
    reduced: tuple[Level, ...] = ()

    def __init__(self, path: AnyPath, plane: Plane | None = None, store: CountingStore | None = None) -> None:
        self._path = path
        self._local = store is None
        self._store = store or local_store(_on_disk(path))
        self.holds_handle = self._local and _on_disk(path).is_file()
        self.identity: str | None = None
        self.resident_bytes = 0
        self._bytes_total: int | None = None
        image = self._image(plane)
        first = image.levels[0][0]
        if 0 in first.shape:
            raise SlideError("the image has no pixels.")
        for array, _ in image.levels:
            refuse_sizes(array)
        self._axes = image.axes
        self.plane, self._spans = _choose(image, plane)
        self._kind = _pixel_kind(image, self._spans)
        self._arrays = [array for array, _ in image.levels]
        self._chunks = [Chunks(array, self._store) for array in self._arrays]
        fills = [_shown_fill(array, self._kind) for array in self._arrays]
        # Holes must have the same colour at every level.
        self._background = [_is_background(fill) and fill == fills[0] for fill in fills]
        self._absences: dict[int, Absence | None] = {}
        self.levels = tuple(self._level(array, downsample) for array, downsample in image.levels)
        for array in self._arrays:
            self._store.expect(f"{array.path}/" if array.path else "", most_bytes(array))
        self._unpacked = [bounded(array) for array in self._arrays]
        if self._local and self._chunks[0].missing:
            raise SlideError(self._chunks[0].missing)
        self.mpp, self.mpp_source = image.mpp, "ome-zarr scale" if image.mpp else None
        self.vendor = image.vendor
        self.properties = image.properties | {
            "zarr.format": str(first.metadata.zarr_format),
            "zarr.axes": image.axes,
            "zarr.fill_value": str(first.metadata.fill_value),
        }

    @property
    def files(self) -> list[Path]:
        """The zip, or metadata files and array folders: chunk files are too many to compare."""
        if not self._local:
            return []
        path = _on_disk(self._path)
        if path.is_file():
            return [path]
        places = [path / array.path for array in self._arrays]
        folders = {path, *places, *(place.parent for place in places if place != path)}
        return [*folders, *(folder / name for folder in folders for name in _METADATA if (folder / name).is_file())]

    @property
    def bytes_total(self) -> int | None:
        if self._bytes_total is None and self._local:
            path = _on_disk(self._path)
            files = path.rglob("*") if path.is_dir() else [path]
            self._bytes_total = sum(file.stat().st_size for file in files if file.is_file())
        return self._bytes_total

    @property
    def bytes_read(self) -> int | None:
        return self._store.bytes_read

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        # Threads that read remote chunks mostly wait.
        threads = threads if self._local else max(threads, _FAR_THREADS)
        return read_tiled(self.levels[level], boxes, lambda tile: self._tile(level, tile), threads)

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        """Return `Reader.absent`, from a listing of the store and the shards' indices; None for remote stores."""
        absent = self._not_stored(level)
        if absent is None:
            return None
        lv = self.levels[level]
        rows, cols = np.nonzero(absent)
        corners = np.stack([cols * lv.tile_width, rows * lv.tile_height], axis=1)
        sides = np.minimum([lv.tile_width, lv.tile_height], [lv.width, lv.height] - corners)
        boxes = np.concatenate([corners, sides], axis=1) * lv.downsample
        absent[rows, cols] = ~self._finer_holds(level, boxes)
        return absent if absent.any() else None

    def _not_stored(self, level: int) -> NDArray[np.bool_] | None:
        """Return which native tiles of a level the store lacks, if that means background; None if none is known."""
        stored = self._stored_chunks(level)
        if stored is None:
            return None
        lv, (rows, cols) = self.levels[level], _sides(self._axes, self._arrays[level].chunks)
        for axis, edges in (
            (0, np.arange(tiles_down(lv)) * (lv.tile_height // rows)),
            (1, np.arange(tiles_across(lv)) * (lv.tile_width // cols)),
        ):
            stored = np.logical_or.reduceat(stored, edges, axis=axis)
        return ~stored

    def _stored_chunks(self, level: int) -> NDArray[np.bool_] | None:
        """Return which chunks of a level the store holds, (chunk rows, chunk cols); None if all, or if unknown."""
        if not (self._local and self._background[level]):
            return None
        stored = self._chunks[level].stored_chunks(self._axes, self._spans)
        return None if stored is None or stored.all() else stored

    def _finer_holds(self, level: int, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) bool: whether a finer level holds a chunk under a box (x, y, width, height in level-0 pixels)."""
        holds = np.zeros(len(boxes), dtype=np.bool_)
        for finer in range(level):
            if finer not in self._absences:
                stored, (rows, cols) = self._stored_chunks(finer), _sides(self._axes, self._arrays[finer].chunks)
                by_chunk = replace(self.levels[finer], tile_width=cols, tile_height=rows)
                self._absences[finer] = None if stored is None else Absence(by_chunk, ~stored)
            absence = self._absences[finer]
            holds |= True if absence is None else ~absence.of(boxes)
        return holds

    def color_profile(self) -> None:
        """Return None: Zarr embeds no profile."""

    def close(self) -> None:
        if self.holds_handle:
            self._store.close()

    def _image(self, plane: Plane | None) -> NgffImage:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr warns of other files in the folder
            try:
                root = zarr.open(store=self._store, path=self._store.root, mode="r")
            except FileNotFoundError:
                raise SlideError("no Zarr array or group is there. Copy it again.") from None
            except SlideError:
                raise
            except Exception as error:
                raise unreadable(self._path, error, "its Zarr metadata could not be read") from error
            try:
                return find_image(root, self._path.name, plane)
            except SlideError:
                raise
            except Exception as error:
                raise unreadable(self._path, error, "its Zarr metadata is not understood") from error

    def _level(self, array: zarr.Array[Any], downsample: float) -> Level:
        height, width = _sides(self._axes, array.shape)
        sides = _sides(self._axes, array.chunks)
        tile_height, tile_width = (-(-_LEAST_SIDE // side) * side for side in sides)
        if min(sides[0], height) * min(sides[1], width) < _LEAST_CHUNK and height * width > _LEAST_CHUNK:
            shape = " x ".join(str(n) for n in array.chunks)
            raise SlideError(f"chunks of {shape} are too small to be read one by one. Rechunk it.")
        return Level(width, height, downsample, tile_width, tile_height, _compression(array))

    def _tile(self, level: int, tile: int) -> Pixels | str:
        """Return a native tile of a level as RGB; as a sentence, why it cannot be read."""
        lv, array = self.levels[level], self._arrays[level]
        row, col = divmod(tile, tiles_across(lv))
        spans = self._spans | {
            "y": (row * lv.tile_height, min((row + 1) * lv.tile_height, lv.height)),
            "x": (col * lv.tile_width, min((col + 1) * lv.tile_width, lv.width)),
        }
        cells = _touched(self._axes, array.chunks, spans)
        try:
            pixels = np.asarray(self._unpacked[level][tuple(slice(*spans[axis]) for axis in self._axes)])
            lacking = [chunk for chunk in cells if self._chunks[level].lacks(chunk)]
        except SlideError:
            raise
        except Exception as error:
            chunks = " to ".join(_numbers(chunk) for chunk in (cells[0], *cells[1:][-1:]))
            what = f"chunk {chunks} of the array {self._chunks[level].name} is damaged or cut short"
            return str(unreadable(self._path, error, what))
        for chunk in lacking:
            problem = self._problem_of(level, chunk)
            if problem is not None:
                reason = f"chunk {_numbers(chunk)} of the array {self._chunks[level].name} {problem}"
                return InFinerLevel(reason) if problem is _IN_FINER else reason
        order = [self._axes.index(axis) for axis in "yx"] + [i for i, axis in enumerate(self._axes) if axis not in "yx"]
        plane = pixels.transpose(order)
        return np.ascontiguousarray(to_rgb(plane.reshape(*plane.shape[:2], -1), self._kind))

    def _problem_of(self, level: int, chunk: Cell) -> str | None:
        """Return why a chunk that the store lacks is not background; None if it is."""
        chunks = self._chunks[level]
        if self._background[0] and not self._background[level]:
            return _IN_FINER
        if not self._background[level]:
            fill = str(self._arrays[level].metadata.fill_value)
            return f"is absent, and the array's fill value ({fill}) is no background."
        if chunks.missing:
            return f"is absent: {chunks.missing}"
        if called := chunks.called(chunk):
            return f"is called {called}, which is not the name that the array's metadata asks for. Copy it again."
        return _IN_FINER if level and self._finer_has(level, chunk) else None

    def _finer_has(self, level: int, chunk: Cell) -> bool:
        """Whether a finer level holds a chunk under this one; of a remote store, the next finer level."""
        lv, (height, width) = self.levels[level], _sides(self._axes, self._arrays[level].chunks)
        row, col = _sides(self._axes, chunk)
        box = (col * width, row * height, min(width, lv.width - col * width), min(height, lv.height - row * height))
        if self._local:
            return bool(self._finer_holds(level, np.array([box]) * lv.downsample)[0])
        scale = lv.downsample / self.levels[level - 1].downsample
        finer = self.levels[level - 1]
        spans = self._spans | {
            axis: (min(int(start * scale), most - 1), min(math.ceil((start + length) * scale), most))
            for axis, start, length, most in (("x", box[0], box[2], finer.width), ("y", box[1], box[3], finer.height))
        }
        return self._chunks[level - 1].any_of(_touched(self._axes, self._arrays[level - 1].chunks, spans))


def _on_disk(path: AnyPath) -> Path:
    """Return `path` as a local path."""
    assert isinstance(path, Path)
    return path


def _choose(image: NgffImage, plane: Plane | None) -> tuple[str | None, dict[str, Span]]:
    """Return the plane to show as text, and as a span along each axis except y and x."""
    sizes = dict(zip(image.axes, image.levels[0][0].shape, strict=True))
    channel = pick_channel(sizes.get("c", 1), image.colours, plane, image.channels)
    shown = pick(sizes, plane) | ({"c": channel} if channel is not None else {})
    others = [axis for axis in image.axes if axis not in "yx"]
    spans = {axis: (shown[axis], shown[axis] + 1) if axis in shown else (0, sizes[axis]) for axis in others}
    number, of = image.series
    counts = {axis: sizes[axis] for axis in others} | {"series": of}
    return plane_text(counts, shown | {"series": number}), spans


def _sides(axes: str, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[axes.index("y")], shape[axes.index("x")]


def _pixel_kind(image: NgffImage, spans: dict[str, Span]) -> PixelKind:
    first, last = spans.get("c", (0, 1))
    dtype = image.levels[0][0].dtype
    window = image.windows[first] if last - first == 1 and first < len(image.windows) else None
    return PixelKind(3 if last - first == 3 else 1, shown=shown_range(dtype, 8 * dtype.itemsize, window))


def _shown_fill(array: zarr.Array[Any], kind: PixelKind) -> tuple[int, ...] | None:
    """Return the colour of the array's fill value; None if it has none."""
    fill: Any = array.metadata.fill_value
    if fill is None:
        return None
    shown = to_rgb(np.full((1, 1, kind.colours), fill, dtype=array.dtype), kind)
    return tuple(int(value) for value in shown[0, 0])


def _is_background(colour: tuple[int, ...] | None) -> bool:
    return colour is not None and (min(colour) >= _WHITE or max(colour) <= _BLACK)


def _touched(axes: str, chunks: Cell, spans: dict[str, Span]) -> list[Cell]:
    """Return the chunks that overlap `spans`, the indices along each axis."""
    sides = ((*spans[axis], side) for axis, side in zip(axes, chunks, strict=True))
    return list(itertools.product(*(range(a // side, (b - 1) // side + 1) for a, b, side in sides)))


def _numbers(chunk: tuple[int, ...]) -> str:
    return ".".join(str(i) for i in chunk)


def _compression(array: zarr.Array[Any]) -> str:
    """Return the name of the last codec that encodes a chunk."""
    for codec in reversed(array.compressors):
        known: Any = codec
        name = getattr(known, "codec_id", None) or known.to_dict().get("name")
        return str(name).rpartition(".")[2].removeprefix("imagecodecs_")
    return "none"
