"""Read DICOM-WSI: a series of files is one slide. pydicom reads headers; frames are byte ranges, decoded in threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.slides.byte_source import ByteSource, LocalFile
from ats_cli.slides.formats.dicom.files import EXTENSIONS, files_beside, files_within, is_dicom, series_of_file
from ats_cli.slides.formats.dicom.frames import codec_name, decode, pixel_kind
from ats_cli.slides.formats.dicom.index import Instance, join, read_instance
from ats_cli.slides.formats.dicom.items import whole_items
from ats_cli.slides.pixels.sample_kind import PixelKind, to_rgb
from ats_cli.slides.pixels.tile_assembly import read_tiled, tiles_across, tiles_down
from ats_cli.slides.plane import Plane, pick, pick_channel, plane_text
from ats_cli.slides.reader import Box, Level, Pixels, Region, level_downsample, unreadable

_MOST_TILES = 1 << 28
_MOST_TILE_PIXELS = 1 << 26


@dataclass(frozen=True)
class _Store:
    """The frames of one level.

    frame: maps native tiles to frames; None if native tiles are frames in order, from frame `first`.
    """

    instance: Instance
    kind: PixelKind
    first: int
    frame: dict[int, int] | None


class DicomReader:
    """Reads the slide of a file or of a folder. `sources`: its files, if they are not local.

    Raises SlideError if it is not a whole-slide image, or if its pixels are not read.
    """

    name = "dicom"
    absent_is_white = True
    holds_handle = False
    vendor = "dicom"
    reduced: tuple[Level, ...] = ()

    def __init__(self, path: Path, plane: Plane | None = None, sources: Sequence[ByteSource] | None = None) -> None:
        self._path = path
        self._sources = list(sources) if sources is not None else series_files(path)
        levels = _volumes(path, [read_instance(source) for source in self._sources])
        first = levels[0]
        self.plane, z, channel = _choose(first, plane)
        self._stores: list[_Store] = []
        found: list[Level] = []
        for instance in levels:
            downsample = level_downsample((first.width, first.height), (instance.width, instance.height))
            if downsample is not None:
                self._stores.append(_store(instance, z, channel))
                found.append(_level(instance, downsample))
        self.levels = tuple(found)
        # Levels whose table of offsets is wrong: True if their items, read in its place, gave all frames.
        self._by_items: dict[int, bool] = {}
        self._lock = threading.Lock()
        self.identity: str | None = first.series or None
        self.mpp, self.mpp_source = first.mpp, first.mpp_source
        self.properties, self._profile = first.properties, first.profile
        self.files = [source.path for source in self._sources if isinstance(source.path, Path)]
        self.bytes_total: int | None = sum(source.size for source in self._sources)
        self.resident_bytes = sum(store.instance.offsets.nbytes * 3 for store in self._stores)

    @property
    def bytes_read(self) -> int | None:
        return sum(source.bytes_read for source in self._sources)

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        """Yield regions as `Reader.read`. Frames are read in file order."""
        store = self._stores[level]
        reads: dict[int, Callable[[], bytes]] = {}

        def request(tiles: set[int]) -> list[int]:
            placed = sorted((*_place(store, tile), tile) for tile in tiles)
            for file, fetch in enumerate(fetches):
                ranges = [(offset, count, tile) for in_file, offset, count, tile in placed if in_file == file and count]
                requested = fetch([(offset, count) for offset, count, _ in ranges])
                reads.update(zip((tile for _, _, tile in ranges), requested, strict=True))
            return [tile for *_, tile in placed]

        def decode_tile(tile: int) -> Pixels | str:
            file, offset, count = _place(store, tile)
            read = reads.pop(tile, None) or (fetches[file]([(offset, count)])[0] if count else None)
            return self._tile(level, tile, read)

        with contextlib.ExitStack() as stack:
            fetches = [stack.enter_context(source.opened()) for source in store.instance.sources]
            yield from read_tiled(self.levels[level], boxes, decode_tile, threads, request)

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        lv, store = self.levels[level], self._stores[level]
        rows, cols = tiles_down(lv), tiles_across(lv)
        if store.frame is None or rows * cols > _MOST_TILES:
            return None
        lacking = np.ones(rows * cols, dtype=np.bool_)
        lacking[list(store.frame)] = False
        return lacking.reshape(rows, cols) if lacking.any() else None

    def color_profile(self) -> bytes | None:
        return self._profile

    def close(self) -> None:
        """Do nothing: files are open only during a read."""

    def _tile(self, level: int, tile: int, read: Callable[[], bytes] | None) -> Pixels | str:
        """Return a native tile of a level as RGB, white if the file lacks it; a sentence if it is damaged."""
        lv, store = self.levels[level], self._stores[level]
        if read is None and _place(store, tile) == _NOWHERE:
            return np.full((lv.tile_height, lv.tile_width, 3), 255, dtype=np.uint8)
        facts = store.instance.pixels
        try:
            data = read() if read is not None else b""
            if facts.syntax.is_encapsulated and not (whole_items(data) and len(data) == _place(store, tile)[2]):
                data = self._read_by_items(level, tile) or data
                store = self._stores[level]
            if len(data) < _place(store, tile)[2] or not data:
                raise ValueError("the file ends too soon")
            samples, ycc = decode(data, facts, lv.tile_height, lv.tile_width)
            return to_rgb(samples, replace(store.kind, ycc=True) if ycc else store.kind)
        except SlideError:
            raise
        except Exception as error:
            row, col = divmod(tile, tiles_across(lv))
            place = f"tile at x {col * lv.tile_width}, y {row * lv.tile_height} of level {level}"
            return str(unreadable(self._path, error, f"{place} is damaged or cut short"))

    def _read_by_items(self, level: int, tile: int) -> bytes | None:
        """Return the bytes of a native tile by the items of its files, without tables; None if they do not give it."""
        with self._lock:
            if level not in self._by_items:
                store = self._stores[level]
                self._by_items[level] = False
                with contextlib.suppress(SlideError):
                    again = join([read_instance(source, by_items=True) for source in store.instance.sources])
                    if len(again.offsets) == store.instance.frames:
                        self._stores[level], self._by_items[level] = replace(store, instance=again), True
        if not self._by_items[level]:
            return None
        file, offset, count = _place(self._stores[level], tile)
        with self._stores[level].instance.sources[file].opened() as fetch:
            return fetch([(offset, count)])[0]()


_NOWHERE = (-1, 0, 0)
_BEYOND = (0, 0, 0)


def _place(store: _Store, tile: int) -> tuple[int, int, int]:
    """Return (file, offset, bytes) of a tile's frame; _NOWHERE if it has none, _BEYOND if the file ends before it."""
    number = store.first + tile if store.frame is None else store.frame.get(tile, -1)
    if number < 0:
        return _NOWHERE
    instance = store.instance
    if number >= len(instance.offsets):
        return _BEYOND
    return int(instance.files[number]), int(instance.offsets[number]), int(instance.counts[number])


def series_files(path: Path) -> list[ByteSource]:
    """Return the files of a folder's only series, or of the series of a file, in its folder.

    Raises SlideError for a folder with no series or with several.
    """
    if path.is_dir():
        by_series = files_within(path)
        for file in sorted(path.iterdir()):
            if file.suffix.lower() in EXTENSIONS and is_dicom(file) and series_of_file(file) is None:
                raise SlideError(f"{file.name} is no DICOM that can be read. Copy it again.")
        if len(by_series) == 1:
            return [LocalFile(file) for file in next(iter(by_series.values()))]
        what = f"{len(by_series)} DICOM series in one folder" if by_series else "no DICOM series that can be read"
        raise SlideError(f"{what}. Give a file of the one you mean.")
    # The named file comes first: it is used if two files hold the same level.
    series = series_of_file(path)
    return [LocalFile(file) for file in (files_beside(path, series) if series else [path])]


def _volumes(path: Path, instances: Sequence[Instance]) -> list[Instance]:
    """Return the levels, finest first, with concatenations joined and without labels and overviews."""
    parts: dict[str, list[Instance]] = {}
    for number, instance in enumerate(instances):
        if instance.kind not in ("LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER"):
            key = instance.concatenation[0] if instance.concatenation else str(number)
            parts.setdefault(key, []).append(instance)
    by_size: dict[tuple[int, int], Instance] = {}
    for instance in map(join, parts.values()):
        size = (instance.width, instance.height)
        both = [i.sources[0].path for i in (by_size[size], instance)] if size in by_size else []
        if both and all(isinstance(file, Path) and file.parent == path for file in both):
            names = " and ".join(file.name for file in both)
            raise SlideError(f"two images of one size, {names}. Give the one you mean.")
        by_size.setdefault(size, instance)
    if not by_size:
        raise SlideError("a DICOM series without the slide itself, only labels and overviews.")
    return sorted(by_size.values(), key=lambda instance: -instance.width * instance.height)


def _choose(first: Instance, plane: Plane | None) -> tuple[str | None, int, int | None]:
    """Return the plane as text, and the indices of the focal plane and the channel to show.

    A channel is an optical path or, in a colour image, red, green or blue; None for all three.
    """
    planes, paths = first.focal_planes, first.optical_paths
    if first.places is not None:
        planes, paths = len(np.unique(first.places[:, 2])), len(np.unique(first.places[:, 3]))
    if paths > 1 and first.pixels.samples > 1:
        raise SlideError(f"{paths} optical paths in colour are not read. Export one.")
    channels = 3 if first.pixels.samples == 3 else paths
    channel = pick_channel(channels, first.pixels.bits_stored == 8 and first.pixels.samples == 3, plane)
    z = pick({"z": planes}, plane)["z"]
    shown = {"z": z} | ({"c": channel} if channel is not None else {})
    return plane_text({"z": planes, "c": channels}, shown), z, channel


def _store(instance: Instance, z: int, channel: int | None) -> _Store:
    kind, path = pixel_kind(instance.pixels), channel or 0
    if instance.pixels.samples == 3 and channel is not None:
        kind, path = replace(kind, colours=1, channel=channel), 0
    down, across = -(-instance.height // instance.tile_height), -(-instance.width // instance.tile_width)
    if instance.places is None:
        promised = down * across * instance.focal_planes * instance.optical_paths
        if instance.frames != promised:
            raise SlideError(f"{instance.frames} frames where its size asks for {promised}. Copy it again.")
        return _Store(instance, kind, (path * instance.focal_planes + z) * down * across, None)
    x, y, height, paths = instance.places.T
    heights = np.unique(height)
    chosen = np.flatnonzero((height == heights[min(z, len(heights) - 1)]) & (paths == path))
    col, row = x[chosen] / instance.tile_width, y[chosen] / instance.tile_height
    if (col % 1).any() or (row % 1).any() or (col < 0).any() or (row < 0).any():
        raise SlideError("frames that do not lie on a grid are not read. Convert it to TILED_FULL.")
    within = (col < across) & (row < down)
    tiles = (row * across + col)[within].astype(np.int64)
    return _Store(instance, kind, 0, dict(zip(tiles.tolist(), chosen[within].tolist(), strict=True)))


def _level(instance: Instance, downsample: float) -> Level:
    if instance.tile_width * instance.tile_height > _MOST_TILE_PIXELS:
        size = f"{instance.tile_width} x {instance.tile_height}"
        raise SlideError(f"frames of {size} pixels are too large to be read one by one. Convert it to tiles.")
    compression = codec_name(instance.pixels.syntax)
    return Level(instance.width, instance.height, downsample, instance.tile_width, instance.tile_height, compression)
