"""Files of a few hundred bytes whose headers promise a million by a million pixels, or as many as the format can."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pydicom
from PIL import Image
from test_dicom import write as write_dicom

MILLION = 1_000_000


def tiff(
    compression: int = 1, tile: int = 256, count: int = 100, tags: dict[int, tuple[int, int]] | None = None
) -> bytes:
    """A little-endian TIFF of a million squared, with a single entry in its index. `tags`: (type, value) by number."""
    entries = {
        256: (4, MILLION), 257: (4, MILLION), 258: (3, 8), 259: (3, compression), 262: (3, 2), 277: (3, 3),
        322: (4, tile), 323: (4, tile), 324: (4, 400), 325: (4, count),
    }  # fmt: skip
    entries |= tags or {}
    entries = {number: entry for number, entry in entries.items() if entry[0]}
    out = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for number, (kind, value) in sorted(entries.items()):
        out += struct.pack("<HHII", number, kind, 1, value)
    out += struct.pack("<I", 0)
    return out.ljust(400, b"\0") + zlib.compress(bytes(60_000))[:100].ljust(100, b"\0")


def tiff_of_strips() -> bytes:
    nothing = (0, 0)
    strips = {322: nothing, 323: nothing, 324: nothing, 325: nothing, 273: (4, 400), 278: (4, MILLION), 279: (4, 100)}
    return tiff(8, tags=strips)


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", MILLION, MILLION, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bmp() -> bytes:
    return struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 154, 0, 0, 54, 40, MILLION, MILLION, 1, 24, 0, 0, 0, 0, 0, 0
    ) + bytes(100)


def jp2() -> bytes:
    """A codestream whose SIZ says a million squared, in tiles of as many."""
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(out, "JPEG2000", no_jp2=True)
    content = bytearray(out.getvalue())
    siz = content.index(b"\xff\x51")
    struct.pack_into(">IIIIIIII", content, siz + 6, MILLION, MILLION, 0, 0, MILLION, MILLION, 0, 0)
    return bytes(content)


def jpeg(side: int = 65500) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(out, "JPEG")
    content = bytearray(out.getvalue())
    frame = content.index(b"\xff\xc0")
    struct.pack_into(">HH", content, frame + 5, side, side)
    return bytes(content)


def tiff_with_jpeg_tile() -> bytes:
    """A modest TIFF of one tile of 64 pixels, in which a JPEG promises 65,500 squared."""
    modest = {256: (4, 64), 257: (4, 64)}
    stream = jpeg()
    return tiff(7, 64, len(stream), modest)[:400] + stream


def zarr_in_zip(chunk: int = 256) -> bytes:
    """An array without a chunk."""
    array = {
        "zarr_format": 2, "shape": [MILLION, MILLION, 3], "chunks": [chunk, chunk, 3], "dtype": "|u1",
        "compressor": None, "filters": None, "fill_value": 255, "order": "C",
    }  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(".zarray", json.dumps(array))
    return out.getvalue()


def dicom_with_jpeg_frame() -> bytes:
    """A modest DICOM of one frame, in which a JPEG promises 65,500 squared."""
    out = io.BytesIO()
    write_dicom(out, np.zeros((32, 48, 3), np.uint8), [jpeg()], pydicom.uid.JPEGBaseline8Bit)  # type: ignore[arg-type]
    return out.getvalue()


def dicom() -> bytes:
    out = io.BytesIO()
    size = {
        "TotalPixelMatrixRows": MILLION,
        "TotalPixelMatrixColumns": MILLION,
        "NumberOfFrames": MILLION,
        "SeriesInstanceUID": "1.2.4",
    }
    write_dicom(out, np.zeros((32, 48, 3), np.uint8), [jpeg()], pydicom.uid.JPEGBaseline8Bit, **size)  # type: ignore[arg-type]
    return out.getvalue()


def zarr_with_jpeg_chunk() -> bytes:
    """A modest array of one chunk, in which a JPEG promises 65,500 squared."""
    array = {
        "zarr_format": 2, "shape": [64, 64, 3], "chunks": [64, 64, 3], "dtype": "|u1", "order": "C", "filters": None,
        "compressor": {"id": "imagecodecs_jpeg"}, "fill_value": 255,
    }  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(".zarray", json.dumps(array))
        file.writestr("0.0.0", jpeg())
    return out.getvalue()


PROMISES: dict[str, Callable[[], bytes]] = {
    "small-tiles.tif": tiff,
    "one-tile.tif": lambda: tiff(1, MILLION),
    "one-tile-deflate.tif": lambda: tiff(8, MILLION),
    "one-tile-lzw.tif": lambda: tiff(5, MILLION),
    "one-tile-jpeg.tif": lambda: tiff(7, MILLION),
    "one-tile-jp2.tif": lambda: tiff(33005, MILLION),
    "one-tile-webp.tif": lambda: tiff(50001, MILLION),
    "one-tile-zstd.tif": lambda: tiff(50000, MILLION),
    "one-absent-tile.tif": lambda: tiff(8, MILLION, 0),
    "large-tiles.tif": lambda: tiff(8, 500_000),
    "strips.tif": tiff_of_strips,
    "jpeg-in-tile.tif": tiff_with_jpeg_tile,
    "image.png": png,
    "image.bmp": bmp,
    "image.jp2": jp2,
    "image.jpg": jpeg,
    "just-allowed.jpg": lambda: jpeg(22_000),
    "chunks.zarr.zip": zarr_in_zip,
    "tiny-chunks.zarr.zip": lambda: zarr_in_zip(1),
    "jpeg-in-chunk.zarr.zip": zarr_with_jpeg_chunk,
    "frames.dcm": dicom,
    "jpeg-in-frame.dcm": dicom_with_jpeg_frame,
    "one-chunk.zarr.zip": lambda: zarr_in_zip(MILLION),
}
