"""Files damaged in ways that a reader can know of; where the bytes of tiles lie is taken from independent readers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from agreement.cases import Case, cases
from agreement.tiff_writers import pages_of
from agreement.writers import Written

_INDEXED = ("tiff", "svs", "ome-tiff", "gdal")
# Codecs whose streams begin or end in something, so that zeros, or a half, are none of them.
_FRAMED = ("jpeg", "jpeg2000", "jpegls", "webp", "deflate", "zstd", "gzip", "blosc")
_CHECKED = ("deflate", "gzip")
# Tags of offsets and counts: of tiles, and of strips.
_OF_STRIPS = {324: 273, 325: 279}


@dataclass(frozen=True)
class Stream:
    """The bytes of one native tile, or of one colour of it."""

    file: Path
    at: int
    count: int
    level: int
    row: int
    col: int


@st.composite
def damaged(draw: st.DrawFn, container: str) -> tuple[Case, str, int]:
    """A case that is read at all, a kind of damage, and a number that says where it is done."""
    case = draw(cases(container).filter(lambda case: case.channels != "fluorescence"))
    return case, draw(st.sampled_from(kinds_of(case))), draw(st.integers(0, 999))


def kinds_of(case: Case) -> list[str]:
    """Kinds of damage that a file of this case shows."""
    codec = case.codec.partition("-")[0]
    found = ["truncated"]
    if codec in _FRAMED and case.variant != "v3 zip":
        found.append("zeroed")
    if codec in _CHECKED and case.variant not in ("v3 zip", "v3 sharded"):
        found.append("flipped")
    if case.container in _INDEXED:
        # What the counts of strips without compression must be follows from the image: tifffile believes that.
        found += ["pointed_beyond"] if case.codec == "none" and not case.tile[0] else ["cut", "pointed_beyond"]
    if case.container == "zarr" and case.variant in ("v2", "v3"):
        found += ["shortened", "emptied"]
    if case.restart:
        found.append("misnumbered")
    return found


def streams_of(case: Case, written: Written) -> list[Stream]:
    if case.container in _INDEXED:
        return _of_tiff(written)
    if case.container == "dicom":
        return _of_dicom(written)
    if case.container == "zarr":
        return _of_zarr(written)
    return [Stream(written.path, 0, written.path.stat().st_size, 0, 0, 0)]


def damage(kind: str, case: Case, written: Written, number: int) -> list[Stream] | None:
    """Damage a file. Returns the streams that were touched; None where it has nothing of the kind to damage."""
    streams = streams_of(case, written)
    if kind == "truncated":
        return _truncated(streams)
    if kind == "emptied":
        for level in range(len(written.levels)):
            shutil.rmtree(written.path / str(level) / "c", ignore_errors=True)
            for file in (written.path / str(level)).glob("[0-9]*"):
                shutil.rmtree(file)
        return streams
    stream = streams[number % len(streams)]
    touched = _DAMAGES[kind](stream, written, number)
    return [stream] if touched else None


def _truncated(streams: list[Stream]) -> list[Stream]:
    """The file of the last stream, without that stream's second half."""
    last = max(streams, key=lambda stream: (str(stream.file), stream.at))
    size = last.at + last.count // 2
    with last.file.open("r+b") as file:
        file.truncate(size)
    return [stream for stream in streams if stream.file == last.file and stream.at + stream.count > size]


def _zeroed(stream: Stream, written: Written, number: int) -> bool:
    _overwrite(stream, stream.at, bytes(stream.count))
    return True


def _flipped(stream: Stream, written: Written, number: int) -> bool:
    """One byte of the middle half is another."""
    at = stream.at + stream.count // 4 + number % max(1, stream.count // 2)
    with stream.file.open("rb") as file:
        file.seek(at)
        byte = file.read(1)
    _overwrite(stream, at, bytes([byte[0] ^ 0x55]))
    return True


def _cut(stream: Stream, written: Written, number: int) -> bool:
    """The index counts one byte less than half: half may be the part of a tile on the image, which some store alone."""
    return _indexed(stream, written, 325, max(1, stream.count // 2 - 1))


def _pointed_beyond(stream: Stream, written: Written, number: int) -> bool:
    """The index says that the tile lies where the file has ended."""
    return _indexed(stream, written, 324, stream.file.stat().st_size)


def _shortened(stream: Stream, written: Written, number: int) -> bool:
    with stream.file.open("r+b") as file:
        file.truncate(stream.count // 2)
    return True


def _misnumbered(stream: Stream, written: Written, number: int) -> bool:
    """The first restart marker of a JPEG is called by another number."""
    with stream.file.open("rb") as file:
        file.seek(stream.at)
        data = file.read(stream.count)
    at = data.find(b"\xff\xd0", data.find(b"\xff\xda"))
    if at >= 0:
        _overwrite(stream, stream.at + at, b"\xff\xd3")
    return at >= 0


_DAMAGES: dict[str, Callable[[Stream, Written, int], bool]] = {
    "zeroed": _zeroed,
    "flipped": _flipped,
    "cut": _cut,
    "pointed_beyond": _pointed_beyond,
    "shortened": _shortened,
    "misnumbered": _misnumbered,
}


def _overwrite(stream: Stream, at: int, data: bytes) -> None:
    with stream.file.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _indexed(stream: Stream, written: Written, code: int, value: int) -> bool:
    with tifffile.TiffFile(stream.file, mode="r+") as tiff:
        page = pages_of(tiff, len(written.levels))[stream.level]
        values = list(page.dataoffsets if code == 324 else page.databytecounts)
        values[page.dataoffsets.index(stream.at)] = value
        (page.tags.get(code) or page.tags[_OF_STRIPS[code]]).overwrite(values)
    return True


def _of_tiff(written: Written) -> list[Stream]:
    found = []
    with tifffile.TiffFile(written.path) as tiff:
        for level, page in enumerate(pages_of(tiff, len(written.levels))):
            grid = written.stored[level].written.shape
            for number, (at, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                row, col = divmod(number % int(np.prod(grid)), grid[1])
                if count:
                    found.append(Stream(written.path, at, count, level, row, col))
    return found


def _of_dicom(written: Written) -> list[Stream]:
    found = []
    for level, stored in enumerate(written.stored):
        file = written.path / f"level{level}.dcm"
        data, header = file.read_bytes(), pydicom.dcmread(file)
        count = int(header.NumberOfFrames)
        pixels = bytes(header.PixelData)
        size = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
        if header.file_meta.TransferSyntaxUID.is_encapsulated:
            frames = list(generate_frames(pixels, number_of_frames=count))
        else:
            frames = [pixels[k * size : (k + 1) * size] for k in range(count)]
        at = data.index(pixels)
        for (row, col), frame in zip(np.argwhere(stored.written).tolist(), frames, strict=True):
            at = data.index(frame, at)
            found.append(Stream(file, at, len(frame), level, row, col))
            at += len(frame)
    return found


def _of_zarr(written: Written) -> list[Stream]:
    """Of a folder, a file each; of a zip, and of shards, what comes last is a list of what is there."""
    if written.path.is_file():
        return [Stream(written.path, 0, written.path.stat().st_size, 0, 0, 0)]
    found = []
    for level in range(len(written.levels)):
        folder = written.path / str(level)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name.isdigit():
                row, col = int(file.parent.name), int(file.name)
                found.append(Stream(file, 0, file.stat().st_size, level, row, col))
    return found
