"""Where the tiles or strips of a TIFF level lie in the file, and how they are decoded.

Both are native tiles: a strip is a tile as wide as the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ats_cli.slides.formats.tiff.metadata import name_of
from ats_cli.slides.pixels.jpeg import REDUCTIONS, JpegColours
from ats_cli.slides.pixels.sample_kind import PixelKind
from ats_cli.slides.pixels.stream_size import MOST_PIXELS
from ats_cli.slides.reader import Level

_Page = tifffile.TiffPage | tifffile.TiffFrame
_Table = NDArray[np.uint64]

# Contiguous uncompressed strips are divided anew into native tiles of about this many pixels.
_CUT_PIXELS = 1 << 17
# Longer tables of offsets are read as arrays, since tifffile converts each entry to a Python integer.
_SHORT = 64
_TABLES = {"offsets": (324, 273), "counts": (325, 279)}
_TABLE_TYPES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


@dataclass(frozen=True)
class Store:
    """Where the native tiles of one level lie in the file, and how they are decoded.

    offsets, counts: (segments, tiles). A tile has one segment, or one per colour if colours are stored separately.
    across: tiles per row.
    decode: tifffile's decoder, for all codecs but 8-bit JPEG.
    tables: JPEG tables that the streams share.
    jpeg: the components of 8-bit JPEG streams by the file's tags; None for other codecs.
    """

    offsets: _Table
    counts: _Table
    across: int
    decode: Callable[..., Any]
    tables: bytes | None
    kind: PixelKind
    jpeg: JpegColours | None = None


@dataclass(frozen=True)
class Shown:
    """Which pages of a series are shown.

    pages: one, or three as red, green and blue.
    channel: the sample shown as grey; None for all. channel_of_file: its number over all pages.
    plane: the plane as text, as in `Reader`.
    """

    pages: list[int]
    channel: int | None
    channel_of_file: int
    plane: str | None


def level_of(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, shown: Shown, kind: PixelKind, downsample: float
) -> tuple[Level, Store] | str:
    """Return a level and its store; or, as a sentence, why its native tiles are not read one by one."""
    key = series.keyframe
    width, height = size_of(key)
    samples = 1 if key.planarconfig == 2 else int(key.samplesperpixel)
    tile_width, tile_height = (key.tilewidth, key.tilelength) if key.is_tiled else (width, _rows_per_strip(key))
    if tile_width < 1 or tile_height < 1:
        raise ValueError("its tiles have no size")
    across, down = -(-width // tile_width), -(-height // tile_height)
    number = across * down
    parts = int(key.samplesperpixel) if key.planarconfig == 2 else 1
    pages = [_page(series, n) for n in shown.pages]
    offsets = np.concatenate([_table(tiff, page, "offsets", parts, number) + shift for page, shift in pages])
    counts = np.concatenate([_table(tiff, page, "counts", parts, number) for page, _ in pages])
    if parts > 1 and shown.channel is not None:
        offsets, counts, kind = offsets[[shown.channel]], counts[[shown.channel]], replace(kind, channel=0)
    decode, dtype = key.decode, np.dtype(key.dtype)
    row_bytes = width * samples * dtype.itemsize
    if not key.is_tiled and _is_uncompressed(key) and _is_contiguous(offsets, counts, height * row_bytes):
        if int(offsets[:, 0].max()) + height * row_bytes <= tiff.filehandle.size:
            tile_height = min(height, max(1, _CUT_PIXELS // width))
            starts = np.arange(0, height, tile_height, dtype=np.uint64)
            offsets = offsets[:, :1] + starts * np.uint64(row_bytes)
            rows = np.minimum(np.uint64(tile_height), np.uint64(height) - starts)
            counts = np.broadcast_to(rows * np.uint64(row_bytes), offsets.shape)
            decode = _raw_decoder(dtype.newbyteorder(tiff.byteorder), width, samples)
    elif any(shift for _, shift in pages):
        return "its planes are not stored one by one."
    if tile_width * tile_height > MOST_PIXELS:
        return f"its {'tiles' if key.is_tiled else 'strips'} are too large to be read one by one."
    jpeg = None
    if key.compression == 7 and dtype == np.uint8 and key.bitspersample == 8:
        jpeg = JpegColours(samples, key.photometric == 6)
    level = Level(width, height, downsample, tile_width, tile_height, name_of(key.compression))
    return level, Store(offsets, counts, across, decode, pages[0][0].jpegtables, kind, jpeg)


# Smaller levels are all edge, where reduced decoding of subsampled colours gives a different mean.
MIN_REDUCED_SIDE = 64


def reduced_levels(levels: Sequence[Level], stores: Sequence[Store]) -> Iterator[tuple[Level, Level, Store, int]]:
    """Yield the levels that reduced JPEG decoding adds between the levels of the file and beyond the last.

    Yields (level, level of the file that it is decoded from, its store, reduction).
    """
    ends = [level.downsample for level in levels[1:]] + [math.inf]
    for level, store, end in zip(levels, stores, ends, strict=True):
        kind = store.kind
        # Palettes and alpha are not linear: the mean of their samples is not the sample of the mean.
        if store.jpeg is None or kind.palette is not None or kind.alpha != "none":
            continue
        for by in REDUCTIONS:
            whole = level.tile_width % by == level.tile_height % by == 0
            if whole and level.downsample * by < end and min(level.width, level.height) >= MIN_REDUCED_SIDE:
                # Rounded up: the last pixel of a row is the mean of the part of its square inside the image.
                size = -(-level.width // by), -(-level.height // by)
                tile = level.tile_width // by, level.tile_height // by
                yield Level(*size, level.downsample * by, *tile, level.compression), level, store, by


def _page(series: tifffile.TiffPageSeries, number: int) -> tuple[_Page, np.uint64]:
    """Return the page of a plane, and the bytes to add to that page's offsets."""
    if len(series) > number:
        page = series[number]
        if page is None:
            raise ValueError("this plane is not in the file")
        return page, np.uint64(0)
    # ImageJ writes many planes contiguously behind one header.
    first = series[0]
    if len(series) != 1 or first is None or series.dataoffset is None:
        raise ValueError("this plane is not in the file")
    return first, np.uint64(number * first.nbytes)


def _table(tiff: tifffile.TiffFile, page: _Page, which: str, parts: int, number: int) -> _Table:
    """Return the offsets or byte counts of a page's native tiles, (parts, number)."""
    values = page.dataoffsets if which == "offsets" else page.databytecounts
    if len(values) < parts * number:
        raise ValueError("its index of tiles is incomplete")
    found: _Table | None = None
    if len(values) > _SHORT and isinstance(page, tifffile.TiffPage):
        tag = next((page.tags[code] for code in _TABLES[which] if code in page.tags), None)
        if tag is not None and tag.count == len(values) and tag.dtype in _TABLE_TYPES:
            kind = np.dtype(f"{tiff.byteorder}{_TABLE_TYPES[tag.dtype]}")
            tiff.filehandle.seek(tag.valueoffset)
            found = np.frombuffer(tiff.filehandle.read(kind.itemsize * tag.count), kind).astype(np.uint64)
            # tifffile corrects the tables of some writers; then use its values.
            if len(found) != len(values) or found[0] != values[0] or found[-1] != values[-1]:
                found = None
    if found is None:
        found = np.asarray(values, dtype=np.uint64)
    return found[: parts * number].reshape(parts, number)


def _rows_per_strip(key: tifffile.TiffPage) -> int:
    return min(int(key.rowsperstrip) or key.imagelength, key.imagelength)


def _is_uncompressed(key: tifffile.TiffPage) -> bool:
    """Whether samples are stored uncompressed, in numpy's layout."""
    bits = key.bitspersample
    return key.compression == 1 and key.predictor == 1 and key.fillorder == 1 and bits in (8, 16, 32, 64)


def _is_contiguous(offsets: _Table, counts: _Table, size: int) -> bool:
    """Whether the strips of each plane, `size` bytes in total, leave no gap."""
    whole = bool((counts.sum(axis=1) == size).all()) and bool((counts > 0).all()) and bool((offsets > 0).all())
    return whole and bool((offsets[:, 1:] == offsets[:, :-1] + counts[:, :-1]).all())


def _raw_decoder(dtype: np.dtype[Any], width: int, samples: int) -> Callable[..., Any]:
    def decode(data: bytes, _: int, **__: Any) -> tuple[NDArray[Any]]:
        return (np.frombuffer(data, dtype).reshape(-1, width, samples),)

    return decode


def size_of(key: tifffile.TiffPage) -> tuple[int, int]:
    return key.imagewidth, key.imagelength
