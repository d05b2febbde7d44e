"""Tiled TIFF, BigTIFF, COG and OME-TIFF: tifffile for the index, then byte ranges, decoded in threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ats_cli.records import SlideError
from ats_cli.slides.byte_source import ByteSource
from ats_cli.slides.native import read_tiled
from ats_cli.slides.reader import Box, Level, Pixels, Region, level_downsample, over_white, unreadable
from ats_cli.slides.tiff_facts import (
    TiffFacts,
    TiffKind,
    colour_kind,
    facts,
    refusal,
    refusal_of_page,
    refusal_of_tiles,
)

# tifffile remarks on odd tags; what matters comes as an error, and stderr is kept for what the user can act on.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class _Store:
    """Where the tiles of one level lie in the file, and how they are decoded."""

    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    across: int
    decode: Callable[..., Any]
    tables: bytes | None
    kind: TiffKind


@dataclass(frozen=True)
class TiffIndex:
    """What is known of a TIFF once its headers are read. `levels` is empty where its tiles cannot be read here.

    `not_tiled` is then the sentence why: it is for Pillow to read whole, if anyone does.
    """

    facts: TiffFacts
    not_tiled: str | None
    levels: tuple[Level, ...] = ()
    stores: tuple[_Store, ...] = ()


def read_index(source: ByteSource) -> TiffIndex:
    """Read the headers. Raises SlideError where no reader here shows the pixels rightly: planes, 16 bits, damage."""
    try:
        with source.headers() as stream, tifffile.TiffFile(stream) as tiff:
            problem = refusal(tiff)
            if problem is None:
                found, not_tiled = facts(tiff), refusal_of_tiles(tiff)
                return TiffIndex(found, not_tiled) if not_tiled else TiffIndex(found, None, *_levels(tiff))
    except SlideError:
        raise
    except Exception as error:
        raise unreadable(source.path, error) from error
    raise SlideError(f"{source.path.name}: {problem}")


class TiffReader:
    """A tiled TIFF, from its index. Raises SlideError where its tiles cannot be read here."""

    name = "tiff"
    holds_handle = False
    plane: str | None = None

    def __init__(self, source: ByteSource, index: TiffIndex) -> None:
        if index.not_tiled:
            raise SlideError(f"{source.path.name}: {index.not_tiled}")
        self._source = source
        self.identity: str | None = None
        self.bytes_total: int | None = source.size
        self.levels, self._stores = index.levels, index.stores
        self.vendor, self.properties = index.facts.vendor, index.facts.properties
        self.mpp, self.mpp_source = index.facts.mpp, index.facts.mpp_source
        self.resident_bytes = sum(store.offsets.nbytes + store.counts.nbytes for store in self._stores)

    @property
    def bytes_read(self) -> int:
        return self._source.bytes_read

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        """Each native tile is read and decoded once, in the order of the file, for all boxes that want it."""
        store = self._stores[level]
        reads: dict[int, Callable[[], bytes]] = {}

        def places(tiles: list[int]) -> list[tuple[int, int]]:
            found = zip(store.offsets[tiles].tolist(), store.counts[tiles].tolist(), strict=True)
            return [(offset, count if offset else 0) for offset, count in found]

        def ask(tiles: set[int]) -> list[int]:
            order = sorted(tiles)
            placed = sorted(zip(places(order), order, strict=True))
            order = [tile for _, tile in placed]
            reads.update(zip(order, fetch([place for place, _ in placed]), strict=True))
            return order

        def decode(tile: int) -> Pixels | str:
            # A tile that was not kept for a later box is asked for once more.
            read = reads.pop(tile, None) or fetch(places([tile]))[0]
            return self._tile(level, tile, read)

        with self._source.opened() as fetch:
            yield from read_tiled(self.levels[level], boxes, decode, threads, ask)

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        lv, store = self.levels[level], self._stores[level]
        lacking = (store.counts == 0) | (store.offsets == 0)
        if not lacking.any():
            return None
        rows = -(-lv.height // lv.tile_height)
        return np.asarray(lacking[: rows * store.across].reshape(rows, store.across))

    def close(self) -> None:
        """Nothing to close: the file is open during a read only."""

    def _tile(self, level: int, tile: int, read: Callable[[], bytes]) -> Pixels | str:
        """Native tile number `tile` of a level, decoded to RGB; paper white where the file has none.

        A sentence where it is there but cannot be read.
        """
        lv, store = self.levels[level], self._stores[level]
        offset, count = int(store.offsets[tile]), int(store.counts[tile])
        if count == 0 or offset == 0:
            return np.full((lv.tile_height, lv.tile_width, 3), 255, dtype=np.uint8)
        row, col = divmod(tile, store.across)
        try:
            data = read()
            if len(data) < count:
                raise ValueError("the file ends too soon")
            array = store.decode(data, tile, jpegtables=store.tables)[0]
            array = array.reshape(array.shape[-3:])
            needed = (
                min(lv.tile_height, lv.height - row * lv.tile_height),
                min(lv.tile_width, lv.width - col * lv.tile_width),
            )
            if array.shape[0] < needed[0] or array.shape[1] < needed[1]:
                raise ValueError(f"{array.shape[1]} x {array.shape[0]} pixels")
        except SlideError:
            raise
        except Exception as error:
            where = f"tile at x {col * lv.tile_width}, y {row * lv.tile_height} of level {level}"
            return str(unreadable(self._source.path, error, f"{where} is damaged or cut short"))
        return _to_rgb(array, store.kind)


def _levels(tiff: tifffile.TiffFile) -> tuple[tuple[Level, ...], tuple[_Store, ...]]:
    """The levels that are true reductions of the first, finest first, and where their tiles are."""
    found: list[tuple[Level, _Store]] = []
    size: tuple[int, int] | None = None
    for series in tiff.series[0].levels:
        page, key = series.pages[0], series.keyframe
        size = size or (key.imagewidth, key.imagelength)
        downsample = level_downsample(size, (key.imagewidth, key.imagelength))
        # A level of strips, or of other pixels than the first, is left out: the next finer one serves.
        if downsample is None or page is None or refusal_of_page(key):
            continue
        level = Level(
            key.imagewidth, key.imagelength, downsample, key.tilewidth, key.tilelength, _compression(key.compression)
        )
        store = _Store(
            offsets=np.asarray(page.dataoffsets, dtype=np.uint64),
            counts=np.asarray(page.databytecounts, dtype=np.uint64),
            across=-(-key.imagewidth // key.tilewidth),
            decode=key.decode,
            tables=page.jpegtables,
            kind=colour_kind(key),
        )
        down = -(-key.imagelength // key.tilelength)
        if len(store.offsets) < down * store.across or len(store.counts) < down * store.across:
            raise ValueError("its index of tiles is incomplete")
        found.append((level, store))
    found.sort(key=lambda pair: pair[0].downsample)
    return tuple(level for level, _ in found), tuple(store for _, store in found)


def _compression(value: Any) -> str:
    return str(getattr(value, "name", value)).lower()


def _to_rgb(array: NDArray[np.uint8], kind: TiffKind) -> Pixels:
    """(rows, cols, samples) as decoded, to (rows, cols, 3) RGB on white."""
    colours, alpha = array[..., : kind.colours], array[..., kind.colours : kind.colours + 1]
    if kind.inverted:
        colours = 255 - colours
    rgb = np.repeat(colours, 3, axis=2) if kind.colours == 1 else colours
    if kind.alpha == "none" or alpha.shape[2] == 0:
        return rgb
    return over_white(rgb, alpha[..., 0], premultiplied=kind.alpha == "premultiplied")
