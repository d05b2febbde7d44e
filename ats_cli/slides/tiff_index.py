"""The index of a TIFF: which image and plane in it is meant, its levels, and where their tiles or strips lie.

Tiles and strips alike are native tiles: a strip is one as wide as the image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from ats_cli.records import SlideError
from ats_cli.slides.jpeg import REDUCTIONS, decode_whole
from ats_cli.slides.pixels import PixelKind
from ats_cli.slides.plane import Plane, asked, check, pick, pick_channel, said
from ats_cli.slides.reader import Level, level_downsample
from ats_cli.slides.side_picture import main_image
from ats_cli.slides.stream_size import MOST_PIXELS
from ats_cli.slides.tiff_facts import TiffFacts, facts, name_of, number_of, ome_pixels, orientation
from ats_cli.slides.tiff_kind import has_alpha, kind_of, refusal_of_page

_Page = tifffile.TiffPage | tifffile.TiffFrame
_Table = NDArray[np.uint64]

# Strips without compression that lie one after the other are cut anew, to about so many pixels.
_CUT_PIXELS = 1 << 17
# A longer table of offsets is taken from the file as an array: tifffile makes a Python number of each.
_SHORT = 64
_ICC_PROFILE = 34675
_TABLES = {"offsets": (324, 273), "counts": (325, 279)}
_TABLE_TYPES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}


@dataclass(frozen=True)
class Store:
    """Where the native tiles of one level lie in the file, and how they are decoded.

    `offsets` and `counts` are (segments, tiles): where each colour is stored by itself, a tile has a segment for each.
    `ycbcr`: of JPEG, what the file says its components are.
    """

    offsets: _Table
    counts: _Table
    across: int
    decode: Callable[..., Any]
    tables: bytes | None
    kind: PixelKind
    ycbcr: bool = False


@dataclass(frozen=True)
class TiffIndex:
    """What is known of a TIFF once its headers are read.

    `whole`: why its native tiles are not read one by one; Pillow may decode all of it, and `levels` is empty.
    `by_pillow`: whether Pillow would show the same plane and colours. `profile`: where an ICC profile lies, offset and
    count of bytes. `orientation` is TIFF's, 1 to 8; levels and stores are as stored, before turning. `plane`: as in
    `Reader`.
    """

    facts: TiffFacts
    plane: str | None
    orientation: int
    by_pillow: bool
    profile: tuple[int, int] | None = None
    whole: str | None = None
    levels: tuple[Level, ...] = ()
    stores: tuple[Store, ...] = ()


@dataclass(frozen=True)
class _Shown:
    """Which pages of a series are shown: one, or three as red, green, blue. `channel`: this sample alone, as grey.

    `channel_of_file`: counted over all pages.
    """

    pages: list[int]
    channel: int | None
    channel_of_file: int
    said: str | None


def index_of(name: str, tiff: tifffile.TiffFile, plane: Plane | None) -> TiffIndex:
    """The index of an open file, called `name`. Raises SlideError where no reader here shows its pixels rightly."""
    series = _series(name, tiff, plane)
    key = series.keyframe
    if problem := refusal_of_page(key):
        raise SlideError(f"{name}: {problem}")
    ome = ome_pixels(tiff, series)
    shown = _shown(name, tiff, series, plane)
    found: list[tuple[Level, Store]] = []
    whole = None
    for reduced in series.levels:
        downsample = level_downsample(_size(key), _size(reduced.keyframe))
        # A level of other pixels than the first is left out: the next finer one serves.
        if downsample is None or (reduced is not series and not _alike(reduced, series)):
            continue
        kind = kind_of(name, reduced.keyframe, ome, shown.channel, len(shown.pages), shown.channel_of_file)
        level = _level(tiff, reduced, shown, kind, downsample)
        if not isinstance(level, str):
            found.append(level)
        elif reduced is series:
            whole = level
            break
    by_pillow = shown.pages == [0] and shown.channel is None and key.index == 0 and _plain(kind)
    if whole and not by_pillow:
        raise SlideError(f"{name}: {whole} Convert it to a tiled TIFF.")
    found = [] if whole else sorted(found, key=lambda pair: pair[0].downsample)
    levels, stores = tuple(level for level, _ in found), tuple(store for _, store in found)
    index = TiffIndex(
        facts(tiff, series, ome), shown.said, orientation(key), by_pillow, _profile(key), whole, levels, stores
    )
    _forget(series)
    return index


def _series(name: str, tiff: tifffile.TiffFile, plane: Plane | None) -> tifffile.TiffPageSeries:
    """The image that is meant: the one asked for, else the slide among the pictures beside it."""
    if not tiff.series:
        raise SlideError(f"{name}: no image in this TIFF. It was cut short, or never had one: copy or export it again.")
    files = set(re.findall(r'FileName="([^"]*)"', tiff.ome_metadata or "")) if tiff.is_ome else set()
    if len(files) > 1:
        raise SlideError(f"{name}: an OME-TIFF spread over several files. Export it as one file.")
    wanted = asked(plane).get("series")
    if wanted is not None:
        return tiff.series[check(name, "series", wanted, len(tiff.series))]
    if tiff.is_svs and tiff.series[0].name == "Baseline":
        return tiff.series[0]  # Aperio's first directory is the slide, by definition
    names = [series.name or "" for series in tiff.series]
    return tiff.series[main_image(names, [math.prod(_size(series.keyframe)) for series in tiff.series])]


def _shown(name: str, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, plane: Plane | None) -> _Shown:
    key = series.keyframe
    samples = int(key.samplesperpixel)
    axes, shape = series.get_axes(False).lower(), series.get_shape(False)
    sizes = {axis: n for axis, n in zip(axes, shape, strict=True) if axis not in "yxs" and n > 1}
    # Writers call the samples of one page channels too.
    if "c" in sizes and math.prod(sizes.values()) * math.prod(key.shape) != math.prod(shape):
        del sizes["c"]
    for axis, count in sizes.items():
        if axis not in "zct":
            raise SlideError(
                f"{name}: {count} images of one size, and the file does not say what they are. "
                "Export the one you mean by itself."
            )
    index = pick(name, sizes, plane)
    channels = sizes.get("c", 1) * samples
    eight_bits = key.dtype == np.uint8 and key.bitspersample == 8
    asked_channel = None if plane is None else plane.c
    if "c" in sizes or (key.photometric in (0, 1) and samples > 1 and not has_alpha(key)):
        channel = pick_channel(name, channels, eight_bits, plane)
    else:
        channel = None if asked_channel is None else check(name, "c", asked_channel, samples)
    shown = [0] if "c" not in sizes else [0, 1, 2] if channel is None else [channel // samples]
    numbers = [_page_number(sizes, index | {"c": c}) for c in shown]
    texts = [said({**sizes, "c": channels}, index | ({} if channel is None else {"c": channel}))]
    if len(tiff.series) > 1 and (tiff.is_ome or asked(plane).get("series")):
        texts.append(f"series={number_of(tiff, series)} of {len(tiff.series)}")
    sample = None if channel is None else channel % samples
    return _Shown(numbers, sample, channel or 0, ", ".join(filter(None, texts)) or None)


def _page_number(sizes: dict[str, int], index: dict[str, int]) -> int:
    number = 0
    for axis, count in sizes.items():
        number = number * count + index[axis]
    return number


def _alike(reduced: tifffile.TiffPageSeries, series: tifffile.TiffPageSeries) -> bool:
    key, first = reduced.keyframe, series.keyframe
    return (
        refusal_of_page(key) is None
        and (key.dtype, key.samplesperpixel) == (first.dtype, first.samplesperpixel)
        and reduced.get_shape(False)[:-3] == series.get_shape(False)[:-3]
        and orientation(key) == orientation(first)
    )


def _plain(kind: PixelKind) -> bool:
    """Whether Pillow makes the same of such pixels."""
    return kind.shown in (None, (0.0, 1.0))


def _level(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, shown: _Shown, kind: PixelKind, downsample: float
) -> tuple[Level, Store] | str:
    """One level and where it lies; or the sentence why its native tiles are not read one by one."""
    key = series.keyframe
    width, height = _size(key)
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
    if not key.is_tiled and _as_in_memory(key) and _one_after_the_other(offsets, counts, height * row_bytes):
        if int(offsets[:, 0].max()) + height * row_bytes <= tiff.filehandle.size:
            tile_height = min(height, max(1, _CUT_PIXELS // width))
            starts = np.arange(0, height, tile_height, dtype=np.uint64)
            offsets = offsets[:, :1] + starts * np.uint64(row_bytes)
            rows = np.minimum(np.uint64(tile_height), np.uint64(height) - starts)
            counts = np.broadcast_to(rows * np.uint64(row_bytes), offsets.shape)
            decode = _in_memory(dtype.newbyteorder(tiff.byteorder), width, samples)
    elif any(shift for _, shift in pages):
        return "its planes are not stored one by one."
    if tile_width * tile_height > MOST_PIXELS:
        return f"its {'tiles' if key.is_tiled else 'strips'} are too large to be read one by one."
    if key.compression == 7 and kind == PixelKind() and parts == 1 and not key.extrasamples:
        decode = _jpeg("RGB" if key.photometric == 2 and not key.is_jfif else None)
    level = Level(width, height, downsample, tile_width, tile_height, name_of(key.compression))
    return level, Store(offsets, counts, across, decode, pages[0][0].jpegtables, kind, key.photometric == 6)


def reduced_levels(index: TiffIndex) -> Iterator[tuple[Level, Store, int]]:
    """Levels between those of the file, and beyond the last, that JPEG gives for less than decoding a finer one."""
    ends = [level.downsample for level in index.levels[1:]] + [math.inf]
    for level, store, end in zip(index.levels, index.stores, ends, strict=True):
        if level.compression != "jpeg" or store.kind != PixelKind() or len(store.offsets) > 1:
            continue
        for by in REDUCTIONS:
            whole = level.tile_width % by == level.tile_height % by == 0
            if whole and level.downsample * by < end and min(level.width, level.height) >= by:
                size = level.width // by, level.height // by
                tile = level.tile_width // by, level.tile_height // by
                yield Level(*size, level.downsample * by, *tile, level.compression), store, by


def _page(series: tifffile.TiffPageSeries, number: int) -> tuple[_Page, np.uint64]:
    """The page of a plane, and how many bytes behind that page's offsets its pixels begin."""
    if len(series) > number:
        page = series[number]
        if page is None:
            raise ValueError("this plane is not in the file")
        return page, np.uint64(0)
    # ImageJ writes many planes one after the other behind one header.
    first = series[0]
    if len(series) != 1 or first is None or series.dataoffset is None:
        raise ValueError("this plane is not in the file")
    return first, np.uint64(number * first.nbytes)


def _table(tiff: tifffile.TiffFile, page: _Page, which: str, parts: int, number: int) -> _Table:
    """Offsets or counts of a page's native tiles, (parts, number)."""
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
            # tifffile mends some tables of some writers.
            if len(found) != len(values) or found[0] != values[0] or found[-1] != values[-1]:
                found = None
    if found is None:
        found = np.asarray(values, dtype=np.uint64)
    return found[: parts * number].reshape(parts, number)


def _profile(key: tifffile.TiffPage) -> tuple[int, int] | None:
    tag = key.tags.get(_ICC_PROFILE)
    return None if tag is None else (int(tag.valueoffset), int(tag.count))


def _forget(series: tifffile.TiffPageSeries) -> None:
    """Let go of the offsets that tifffile holds as Python numbers: megabytes, and a decoder keeps its page."""
    for reduced in series.levels:
        key = reduced.keyframe
        key.tags, key.dataoffsets, key.databytecounts = tifffile.TiffTags(), (), ()


def _rows_per_strip(key: tifffile.TiffPage) -> int:
    return min(int(key.rowsperstrip) or key.imagelength, key.imagelength)


def _as_in_memory(key: tifffile.TiffPage) -> bool:
    """Whether samples are stored as numpy holds them."""
    bits = key.bitspersample
    return key.compression == 1 and key.predictor == 1 and key.fillorder == 1 and bits in (8, 16, 32, 64)


def _one_after_the_other(offsets: _Table, counts: _Table, size: int) -> bool:
    """Whether the strips of each plane, `size` bytes in all, leave no gap."""
    whole = bool((counts.sum(axis=1) == size).all()) and bool((counts > 0).all()) and bool((offsets > 0).all())
    return whole and bool((offsets[:, 1:] == offsets[:, :-1] + counts[:, :-1]).all())


def _in_memory(dtype: np.dtype[Any], width: int, samples: int) -> Callable[..., Any]:
    def decode(data: bytes, _: int, **__: Any) -> tuple[NDArray[Any]]:
        return (np.frombuffer(data, dtype).reshape(-1, width, samples),)

    return decode


def _jpeg(inside: Literal["RGB"] | None) -> Callable[..., Any]:
    """JPEG of three components by a decoder that tells damage, and without tifffile's way to it (3 % of a tile's time).

    `inside`: where the components are RGB and the stream does not say so, as Aperio writes it.
    """

    def decode(data: bytes, _: int, *, jpegtables: bytes | None) -> tuple[NDArray[Any]]:
        return (decode_whole(data, jpegtables, inside),)

    return decode


def _size(key: tifffile.TiffPage) -> tuple[int, int]:
    return key.imagewidth, key.imagelength
