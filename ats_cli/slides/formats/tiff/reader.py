"""TIFF, BigTIFF, COG and OME-TIFF in tiles or strips: tifffile for the index, then byte ranges, decoded in threads."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import ByteSource, Range
from ats_cli.slides.formats.tiff.header_prefetch import refuse_many_directories
from ats_cli.slides.formats.tiff.index import TiffIndex, index_of
from ats_cli.slides.formats.tiff.tile_store import Store, reduced_levels
from ats_cli.slides.pixels.jpeg import decode_jpeg
from ats_cli.slides.pixels.orientation import exchanges, stored_box, upright, upright_level
from ats_cli.slides.pixels.resample import square_means
from ats_cli.slides.pixels.sample_kind import to_rgb
from ats_cli.slides.pixels.stream_size import refuse_large, stream_size
from ats_cli.slides.pixels.tile_assembly import read_tiled, tiles_down
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import HEADER_DAMAGED, Box, InFinerLevel, Pixels, Region, unreadable

# tifffile logs odd tags. Errors are raised, so keep these remarks off stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


_Segment = tuple[Callable[[], bytes], int]
"""A call that returns the bytes of a tile, or of one colour of it, and the number of bytes."""


def read_index(source: ByteSource, plane: Plane | None = None) -> TiffIndex:
    """Read the headers. Raises SlideError for damage, and for pixels that no reader here shows correctly."""
    try:
        with source.headers() as stream:
            refuse_many_directories(stream)
            stream.seek(0)
            with tifffile.TiffFile(stream, name=source.path.name, _multifile=False) as tiff:
                return index_of(tiff, plane)
    except SlideError:
        raise
    except Exception as error:
        raise unreadable(source.path, error, HEADER_DAMAGED) from error


class TiffReader:
    """Reads a TIFF by its native tiles. Raises SlideError if they cannot be read one by one."""

    name = "tiff"
    absent_is_white = True
    holds_handle = False

    def __init__(self, source: ByteSource, index: TiffIndex) -> None:
        if index.whole:
            raise SlideError(f"{index.whole} Leave out --backend.")
        self.source = source
        self.identity: str | None = None
        self.files = (source.path,) if isinstance(source.path, Path) else ()
        self.bytes_total: int | None = source.size
        self._orientation, self._stores = index.orientation, index.stores
        self.levels = tuple(upright_level(level, index.orientation) for level in index.levels)
        reduced = list(reduced_levels(index.levels, index.stores)) if index.orientation == 1 else []
        self.reduced = tuple(level for level, *_ in reduced)
        # Of each level: itself before rotation, the level of the file that it is decoded from, its store, reduction.
        stored = zip(index.levels, index.levels, index.stores, itertools.repeat(1), strict=False)
        self._served = [*stored, *reduced]
        self.vendor, self.properties, self.plane = index.facts.vendor, index.facts.properties, index.plane
        mpp = index.facts.mpp
        self.mpp = mpp[::-1] if mpp and exchanges(index.orientation) else mpp
        self.mpp_source, self._profile = index.facts.mpp_source, index.profile
        self.resident_bytes = sum(store.offsets.nbytes + store.counts.nbytes for store in self._stores)

    @property
    def bytes_read(self) -> int:
        return self.source.bytes_read

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        """Yield regions as `Reader.read`. Native tiles are read in file order."""
        turn, stored = self._orientation, self._served[level][0]
        if turn == 1:
            return self._read_stored(level, boxes, threads)
        regions = self._read_stored(level, [stored_box(box, stored, turn) for box in boxes], threads)
        return (upright(region, stored, turn) for region in regions)

    def _read_stored(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        lv, _, store, _ = self._served[level]
        requested: dict[int, list[_Segment]] = {}

        def places(tiles: list[int]) -> list[list[Range]]:
            found = zip(store.offsets[:, tiles].T.tolist(), store.counts[:, tiles].T.tolist(), strict=True)
            return [list(zip(*tile, strict=True)) for tile in found]

        def segments(tiles: list[list[Range]]) -> list[list[_Segment]]:
            """Return (call, bytes) for each segment of each tile; an empty list for a tile that the file lacks."""
            stored = [tile if all(at and count for at, count in tile) else [] for tile in tiles]
            reads = iter(fetch([place for tile in stored for place in tile]))
            return [[(next(reads), count) for _, count in tile] for tile in stored]

        def request(tiles: set[int]) -> list[int]:
            order = sorted(tiles)
            placed = sorted(zip(places(order), order, strict=True))
            order = [tile for _, tile in placed]
            requested.update(zip(order, segments([ranges for ranges, _ in placed]), strict=True))
            return order

        def decode(tile: int) -> Pixels | str:
            # Request a tile again if it was dropped before a later box needed it.
            first = requested.pop(tile, None)
            return self._tile(level, tile, segments(places([tile]))[0] if first is None else first)

        with self.source.opened() as fetch:
            yield from read_tiled(lv, boxes, decode, threads, request)

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        lv, _, store, _ = self._served[level]
        lacking = ((store.counts == 0) | (store.offsets == 0)).any(axis=0)
        # After rotation, tiles need not begin at the image's corner.
        if self._orientation != 1 or not lacking.any():
            return None
        return np.asarray(lacking.reshape(tiles_down(lv), store.across))

    def color_profile(self) -> bytes | None:
        if self._profile is None:
            return None
        with self.source.opened() as fetch:
            return fetch([self._profile])[0]()

    def close(self) -> None:
        """Do nothing: the file is open only during a read."""

    def _tile(self, level: int, tile: int, segments: list[_Segment]) -> Pixels | str:
        """Return a native tile of a level as RGB, white if the file lacks it; a sentence if it is damaged."""
        lv, stored, store, reduction = self._served[level]
        if not segments:
            if level and self._orientation != 1:
                return InFinerLevel("not held at this level, and read from a finer one.")  # `absent` does not report it
            return np.full((lv.tile_height, lv.tile_width, 3), 255, dtype=np.uint8)
        row, col = divmod(tile, store.across)
        x, y = col * stored.tile_width, row * stored.tile_height
        # The part of the tile inside the image, in stored pixels.
        width, height = min(stored.tile_width, stored.width - x), min(stored.tile_height, stored.height - y)
        # Writers pad tiles beyond the edge with arbitrary pixels, so average squares across it from the part inside.
        across_edge = width % reduction or height % reduction
        try:
            by = 1 if across_edge else reduction
            arrays = [_decoded(store, tile, read(), count, by, (width, height)) for read, count in segments]
            array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=2)
            pixels = to_rgb(array, store.kind)
            rows, cols, colours = pixels.shape
            if rows * by < height or cols * by < width or colours != 3:
                raise ValueError(f"{cols} x {rows} pixels of {colours} colours in place of {width} x {height}")
            return square_means(pixels[:height, :width], reduction) if across_edge else pixels
        except SlideError:
            raise
        except Exception as error:
            place = f"tile at x {col * lv.tile_width}, y {row * lv.tile_height} of level {level}"
            return str(unreadable(self.source.path, error, f"{place} is damaged or cut short"))


def _decoded(store: Store, tile: int, data: bytes, count: int, reduction: int, least: tuple[int, int]) -> NDArray[Any]:
    """Decode a segment to (rows, cols, samples), at 1 / `reduction` of its size.

    Raises ValueError, or the decoder's error, if it is damaged or smaller than `least`, (width, height).
    """
    if len(data) < count:
        raise ValueError("the file ends too soon")
    refuse_large(data)
    if store.jpeg is None:
        array: NDArray[Any] = store.decode(data, tile, jpegtables=store.tables)[0]
        size = array.shape[-2], array.shape[-3]
    else:
        array = decode_jpeg(data, store.tables, store.jpeg, reduction)
        # A reduced size is rounded up, so compare the size that the stream states.
        size = stream_size(data) or (array.shape[1] * reduction, array.shape[0] * reduction)
    if size[0] < least[0] or size[1] < least[1]:
        raise ValueError(f"{size[0]} x {size[1]} pixels in place of {least[0]} x {least[1]}")
    return array.reshape(array.shape[-3:])
