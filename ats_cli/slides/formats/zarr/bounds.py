"""Decode chunks with a limit on their unpacked size: a stream that states more is damaged and is not allocated."""

from __future__ import annotations

import asyncio
import bz2
import dataclasses
import lzma
import math
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec
from zarr.core.array import AsyncArray
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.core.metadata import ArrayV2Metadata

from ats_cli.errors import SlideError

# Chunks are decoded as a whole, so larger ones are refused before anything is allocated.
_MOST_CHUNK_BYTES = 256 * 1024 * 1024
_MOST_PER_SHARD = 1 << 20
_MOST_SIDE = (1 << 31) - 1
_SLACK = 1 << 20
# A filter may store pixels as a type this many times as wide.
_WIDEST = 8
_STREAMS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
}
# Offsets of the unpacked size in the headers of numcodecs and blosc.
_STATED_AT = {"blosc": 4, "lz4": 0}
# Codecs of imagecodecs that decode into a buffer of a given size.
_INTO_BUFFER = {
    "imagecodecs_" + name
    for name in (
        "blosc", "blosc2", "brotli", "bz2", "deflate", "lz4", "lz4f", "lz4h5", "lzf", "lzfse", "lzham", "lzma", "lzw",
        "packbits", "snappy", "zlib", "zlibng", "zopfli", "zstd",
    )
}  # fmt: skip


def refuse_sizes(array: zarr.Array[Any]) -> None:
    """Raise SlideError for an array with a side, a chunk or a shard that is too large."""
    if max(array.shape) > _MOST_SIDE:
        raise SlideError(f"{_times(array.shape)} is more than an image can have. Export it again.")
    if math.prod(array.chunks) * array.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise SlideError(f"chunks of {_times(array.chunks)} are too large to be read one by one. Rechunk it.")
    shards = array.shards or array.chunks
    if math.prod(s // c for s, c in zip(shards, array.chunks, strict=True)) > _MOST_PER_SHARD:
        raise SlideError(f"shards of {_times(shards)} have too many chunks to be read one by one. Rechunk it.")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def most_bytes(array: zarr.Array[Any]) -> int:
    """Return the most bytes that a chunk of the array may have, stored or decoded."""
    pixels = math.prod(array.chunks) * array.dtype.itemsize
    return 2 * pixels * (_WIDEST if array.filters else 1) + _SLACK


def bounded(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return the same array with codecs that decode at most `most_bytes`."""
    most, metadata = most_bytes(array), array.metadata
    changed: Any
    if isinstance(metadata, ArrayV2Metadata):
        if metadata.compressor is None:
            return array
        changed = dataclasses.replace(metadata, compressor=_Numcodec(metadata.compressor, most, array.chunks))
    else:
        changed = dataclasses.replace(metadata, codecs=_all_bounded(metadata.codecs, most))
    store_path, config = array.store_path, array.async_array.config
    return zarr.Array(AsyncArray(metadata=changed, store_path=store_path, config=config))


def _all_bounded(codecs: tuple[Any, ...], most: int) -> tuple[Any, ...]:
    return tuple(_one_bounded(codec, most) for codec in codecs)


def _one_bounded(codec: Any, most: int) -> Any:
    if isinstance(codec, ShardingCodec):
        return dataclasses.replace(codec, codecs=_all_bounded(codec.codecs, most))
    return _Bounded(codec, most) if isinstance(codec, BytesBytesCodec) else codec


def unpacked(kind: str, data: bytes, most: int) -> Any | None:
    """Decode a stream of a codec; return None for codecs whose own decoder is to be used.

    Raises ValueError, or a library's error, if the stream is damaged or holds more than `most` bytes.
    """
    if kind in _STATED_AT:
        stated = int.from_bytes(data[_STATED_AT[kind] :][:4], "little")
        if stated > most:
            raise ValueError(f"its stream promises {stated} bytes")
        if kind == "blosc" and int.from_bytes(data[12:16], "little") > len(data):
            raise ValueError("its stream breaks off")  # the decoder would read memory beyond its end
        return None
    if kind == "zstd":
        return _fitting(imagecodecs.zstd_decode(data, out=_buffer(most)), most)
    if kind in _STREAMS:
        stream = _STREAMS[kind]()
        found = stream.decompress(data, most + 1)
        if len(found) <= most and not stream.eof:
            raise ValueError("its stream breaks off")
        return _fitting(found, most)
    return None


def _buffer(most: int) -> Any:
    """Return a buffer of one byte more than the limit. The system allocates only pages that are written to."""
    return np.empty(most + 1, np.uint8)


def _fitting(found: Any, most: int) -> Any:
    if len(found) > most:
        raise ValueError(f"its stream holds more than {most} bytes")
    return found


@dataclasses.dataclass(frozen=True)
class _Bounded(BytesBytesCodec):
    """A Zarr 3 codec with a limit on the decoded size."""

    inner: BytesBytesCodec
    most: int

    @property
    def is_fixed_size(self) -> bool:  # type: ignore[override]
        return self.inner.is_fixed_size

    def to_dict(self) -> dict[str, Any]:
        return self.inner.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        return self.inner.compute_encoded_size(input_byte_length, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        kind = str(self.inner.to_dict()["name"]).removeprefix("numcodecs.")
        found = await asyncio.to_thread(unpacked, kind, chunk_data.to_bytes(), self.most)
        if found is None:
            (inner,) = await self.inner.decode([(chunk_data, chunk_spec)])
            assert inner is not None
            return inner
        return chunk_spec.prototype.buffer.from_bytes(found)


class _Numcodec:
    """A Zarr 2 compressor with a limit on the decoded size. `shape`: of the chunk."""

    codec_id = "bounded"

    def __init__(self, inner: Any, most: int, shape: tuple[int, ...]) -> None:
        self._inner, self._most = inner, most
        self._shape = tuple(side for side in shape if side > 1)

    def get_config(self) -> Any:
        return self._inner.get_config()

    @classmethod
    def from_config(cls, config: Any) -> Any:
        raise NotImplementedError

    def encode(self, buf: Any) -> Any:
        raise PermissionError("only read")

    def decode(self, buf: Any, out: Any = None) -> Any:
        data = bytes(buf)
        if self._inner.codec_id in _INTO_BUFFER:
            return _fitting(self._inner.decode(data, out=_buffer(self._most)), self._most)
        if self._inner.codec_id == "lzma":
            return _fitting(_lzma(self._inner, data, self._most), self._most)
        if self._inner.codec_id == "imagecodecs_jpeg" and self._inner.header is None and b"\xff\xd9" not in data[-256:]:
            raise ValueError("its JPEG stream has no end")
        found = unpacked(self._inner.codec_id, data, self._most)
        decoded = self._inner.decode(data) if found is None else found
        if isinstance(decoded, np.ndarray) and decoded.ndim > 1:
            self._compare(decoded)
        return decoded

    def _compare(self, decoded: NDArray[Any]) -> None:
        """Raise ValueError for an image whose shape is not the chunk's: reshaping would shear it."""
        shape = tuple(side for side in decoded.shape if side > 1)
        if shape != self._shape:
            raise ValueError(f"its stream holds {_times(shape)}, not {_times(self._shape)}")


def _lzma(codec: Any, data: bytes, most: int) -> bytes:
    stream = lzma.LZMADecompressor(format=codec.format, filters=codec.filters)
    found = stream.decompress(data, most + 1)
    if len(found) <= most and not stream.eof:
        raise ValueError("its stream breaks off")
    return found
