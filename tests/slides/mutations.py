"""Slides broken on purpose: small sound files of several formats, and as many mutations of them as one likes.

Everything is fixed by numbers: mutation k of an original is the same bytes on every machine.
"""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import tifffile
import zarr
from PIL import Image
from slide_pictures import picture
from test_dicom import frames_of
from test_dicom import write as write_dicom
from zarr.storage import ZipStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"

# What a field of a header may be made to say: nothing, everything, one more or less than that, a gigapixel.
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 10**6, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)

Bytes = bytearray
Random = np.random.Generator


def originals(folder: Path) -> dict[str, Path]:
    """Write a sound file of each format into `folder`; by the format's name."""
    pixels = picture(300, 400)
    files = {
        "svs": folder / "slide.svs",
        "ome-tiff": folder / "slide.ome.tif",
        "tiff": folder / "pyramid.tif",
        "png": folder / "slide.png",
        "jpeg": folder / "slide.jpg",
        "jp2": folder / "slide.jp2",
        "zarr": folder / "slide.zarr.zip",
        "dicom": folder / "slide.dcm",
    }
    shutil.copyfile(EXAMPLE, files["svs"])
    with tifffile.TiffWriter(files["ome-tiff"], bigtiff=True) as out:
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "jpeg"}
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        out.write(pixels, subifds=1, metadata=metadata, **options)  # type: ignore[arg-type]
        out.write(np.ascontiguousarray(pixels[::2, ::2]), subfiletype=1, **options)  # type: ignore[arg-type]
    with tifffile.TiffWriter(files["tiff"]) as out:
        for step, kind in ((1, {}), (4, {"subfiletype": 1})):
            level = np.ascontiguousarray(pixels[::step, ::step])
            out.write(level, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None, **kind)  # type: ignore[arg-type]
    Image.fromarray(pixels).save(files["png"])
    Image.fromarray(pixels).save(files["jpeg"], quality=80)
    Image.fromarray(pixels).save(files["jp2"], quality_mode="rates", quality_layers=[20])
    _write_zarr(files["zarr"], pixels)
    _write_dicom(files["dicom"], pixels)
    return files


def _write_dicom(path: Path, pixels: np.ndarray) -> None:
    frames = [imagecodecs.jpeg8_encode(np.ascontiguousarray(frame), 90) for frame in frames_of(pixels)]
    write_dicom(path, pixels, frames, pydicom.uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422")
    file = pydicom.dcmread(path)
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file.save_as(path)


def _write_zarr(path: Path, pixels: np.ndarray) -> None:
    """OME-Zarr 0.5 in a zip, as stored: two levels, the first of them in shards."""
    axes = [{"name": name, "type": kind} for name, kind in (("y", "space"), ("x", "space"), ("c", "channel"))]
    steps = (1, 2)
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [step, step, 1]}]}
        for level, step in enumerate(steps)
    ]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    options = {"chunks": (64, 64, 3), "dtype": "u1", "fill_value": 255}
    with ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, zarr_format=3, attributes={"ome": ome})
        for level, step in enumerate(steps):
            part = pixels[::step, ::step]
            shards = (128, 128, 3) if level == 0 else None
            group.create_array(str(level), shape=part.shape, shards=shards, **options)[:] = part  # type: ignore[arg-type]


def mutations(files: dict[str, Path], folder: Path, first: int, stop: int) -> Iterator[Path]:
    """Mutations `first` to `stop` - 1, of each format in turn. Each is in `folder` until the next is asked for: a DICOM
    file is read with those beside it."""
    names = list(files)
    for number in range(first, stop):
        name = names[number % len(names)]
        rng = np.random.default_rng((number, 20))
        # Two at most: a file that is broken in many places is found broken at the first.
        content = bytearray(files[name].read_bytes())
        how = []
        for _ in range(int(rng.integers(1, 3))):
            kind = KINDS[int(rng.integers(len(KINDS)))]
            how.append(kind.__name__)
            kind(content, rng, files)
        if name in MENDS:
            MENDS[name](content)
        path = folder / f"{number:05d}-{'-'.join(how)}{''.join(files[name].suffixes)}"
        path.write_bytes(content)
        yield path
        path.unlink()


def flip(content: Bytes, rng: Random, _: dict[str, Path]) -> None:
    """Flip a few bits near one another."""
    at = _place(content, rng)
    for _ in range(int(rng.integers(1, 9))):
        content[min(at + int(rng.integers(64)), len(content) - 1)] ^= 1 << int(rng.integers(8))


def cut(content: Bytes, rng: Random, _: dict[str, Path]) -> None:
    """End the file early."""
    del content[_place(content, rng) :]
    if not content:
        content += b"\0"


def zero(content: Bytes, rng: Random, _: dict[str, Path]) -> None:
    """A block that was never written."""
    at, length = _place(content, rng), int(rng.choice([16, 512, 4096, 65536]))
    content[at : at + length] = bytes(min(length, len(content) - at))


def splice(content: Bytes, rng: Random, files: dict[str, Path]) -> None:
    """The beginning of another file in the place of one's own."""
    other = files[str(rng.choice(list(files)))].read_bytes()
    length = int(rng.choice([4, 8, 64, 512, 4096]))
    content[:length] = other[:length]


def extreme(content: Bytes, rng: Random, _: dict[str, Path]) -> None:
    """A field that says something extreme, of 2, 4 or 8 bytes, in either order of bytes."""
    size = int(rng.choice([2, 4, 8]))
    value = EXTREMES[int(rng.integers(len(EXTREMES)))] & (1 << 8 * size) - 1
    at = min(_place(content, rng), max(0, len(content) - size))
    at -= at % 2
    content[at : at + size] = value.to_bytes(size, "little" if rng.random() < 0.7 else "big")[: len(content) - at]


def tag(content: Bytes, rng: Random, files: dict[str, Path]) -> None:
    """An entry of a TIFF's first directory that says something extreme; in other files, any field."""
    little = content[:2] == b"II"
    order = "<" if little else ">"
    try:
        big = struct.unpack_from(order + "H", content, 2)[0] == 43
        start = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)[0]
        entries = struct.unpack_from(order + ("Q" if big else "H"), content, start)[0]
        entry = start + (8 + 20 * int(rng.integers(entries)) if big else 2 + 12 * int(rng.integers(entries)))
        # Its type, its count, or its value.
        at, size = (
            [(2, 2), (4, 8), (12, 8)][int(rng.integers(3))] if big else [(2, 2), (4, 4), (8, 4)][int(rng.integers(3))]
        )
        value = EXTREMES[int(rng.integers(len(EXTREMES)))] & (1 << 8 * size) - 1
        content[entry + at : entry + at + size] = value.to_bytes(size, "little" if little else "big")
    except (struct.error, ValueError, OverflowError):
        extreme(content, rng, files)


KINDS: tuple[Callable[[Bytes, Random, dict[str, Path]], None], ...] = (flip, cut, zero, splice, extreme, tag)


def _place(content: Bytes, rng: Random) -> int:
    """Somewhere: near the beginning, near the end, or anywhere."""
    length = max(1, len(content))
    near = int(rng.integers(min(length, int(rng.choice([64, 1024])))))
    return [near, length - 1 - near, int(rng.integers(length))][int(rng.integers(3))]


def _mend_png(content: Bytes) -> None:
    """Make the checksums of a PNG's chunks right again, so that what they hold is looked at."""
    at = 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        if at + 12 + length > len(content):
            return
        struct.pack_into(">I", content, at + 8 + length, zlib.crc32(content[at + 4 : at + 8 + length]))
        at += 12 + length


def _mend_zip(content: Bytes) -> None:
    """The same of what a zip stores, where its directory can still be read."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, OverflowError):
        return
    at = content.find(b"PK\1\2")
    for entry in entries:
        if at < 0 or at + 46 > len(content) or not 0 <= entry.header_offset <= len(content) - 30:
            return
        start = entry.header_offset + 30 + sum(struct.unpack_from("<HH", content, entry.header_offset + 26))
        struct.pack_into("<I", content, at + 16, zlib.crc32(content[start : start + entry.compress_size]))
        at = content.find(b"PK\1\2", at + 46)


MENDS = {"png": _mend_png, "zarr": _mend_zip}
