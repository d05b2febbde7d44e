"""Chunks and zips that promise more than they can hold: a sentence, and no memory; what is damaged is found."""

from __future__ import annotations

import io
import json
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import imagecodecs.numcodecs
import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import picture
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from ats_cli.errors import SlideError
from ats_cli.slides import check_slide, open_slide
from ats_cli.slides.formats.zarr.zip_store import ZipFolder

LARGE = 1 << 26


def zstd_without_its_size(count: int) -> bytes:
    """A frame of Zstandard of `count` zeros that does not say how many they are."""
    blocks = count >> 17
    runs = b"".join(((2 | (1 << 17 << 3)) + (i == blocks - 1)).to_bytes(3, "little") + b"\0" for i in range(blocks))
    return b"\x28\xb5\x2f\xfd\x00\x58" + runs


BOMBS: dict[str, tuple[int, Any, Callable[[], bytes]]] = {
    "v2 gzip": (2, numcodecs.GZip(), lambda: bytes(numcodecs.GZip(1).encode(bytes(LARGE)))),
    "v2 zlib": (2, numcodecs.Zlib(), lambda: bytes(numcodecs.Zlib(1).encode(bytes(LARGE)))),
    "v2 bz2": (2, numcodecs.BZ2(), lambda: bytes(numcodecs.BZ2(1).encode(bytes(LARGE)))),
    "v2 lzma": (2, numcodecs.LZMA(preset=0), lambda: bytes(numcodecs.LZMA(preset=0).encode(bytes(LARGE)))),
    "v2 lz4": (2, numcodecs.LZ4(), lambda: bytes(numcodecs.LZ4().encode(bytes(LARGE)))),
    "v2 blosc": (2, numcodecs.Blosc(), lambda: bytes(numcodecs.Blosc().encode(bytes(LARGE)))),
    "v2 zstd": (2, numcodecs.Zstd(), lambda: bytes(numcodecs.Zstd(1).encode(bytes(LARGE)))),
    "v2 zstd of no stated size": (2, numcodecs.Zstd(), lambda: zstd_without_its_size(LARGE)),
    "v2 imagecodecs": (2, imagecodecs.numcodecs.Zlib(), lambda: imagecodecs.zlib_encode(bytes(LARGE))),
    "v3 gzip": (3, zarr.codecs.GzipCodec(), lambda: bytes(numcodecs.GZip(1).encode(bytes(LARGE)))),
    "v3 zstd": (3, zarr.codecs.ZstdCodec(), lambda: zstd_without_its_size(LARGE)),
    "v3 blosc": (3, zarr.codecs.BloscCodec(), lambda: bytes(numcodecs.Blosc().encode(bytes(LARGE)))),
}  # fmt: skip


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LARGE // 3
    finally:
        tracemalloc.stop()


def array(path: Path, version: int = 2, compressor: Any = None, **options: Any) -> Path:
    """Four chunks of a picture."""
    pixels = np.maximum(picture(64, 64), 1)
    zarr.create_array(
        path, data=pixels, chunks=(32, 32, 3), zarr_format=version,  # type: ignore[arg-type]
        compressors=compressor, fill_value=100, **options,
    )  # fmt: skip
    return path


def chunks(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name[0].isdigit())


@pytest.mark.integration
@pytest.mark.parametrize("kind", BOMBS)
def test_a_chunk_that_unpacks_to_far_more_than_a_chunk_is_damage_and_no_memory(tmp_path: Path, kind: str) -> None:
    version, codec, bomb = BOMBS[kind]
    path = array(tmp_path / "a.zarr", version, codec)
    with open_slide(path) as slide:
        assert check_slide(slide).sound
    chunks(path)[0].write_bytes(bomb())
    with open_slide(path) as slide, little_memory():
        (problem,) = check_slide(slide, threads=1).problems
        assert "is damaged or cut short" in problem.sentence


@pytest.mark.integration
@pytest.mark.parametrize("form", ["folder", "zip", "shard"])
def test_a_chunk_of_five_gigabytes_is_not_read(tmp_path: Path, form: str) -> None:
    shards = {"shards": (64, 64, 3)} if form == "shard" else {}
    path = array(tmp_path / "a.zarr", 3 if form == "shard" else 2, **shards)
    first = chunks(path)[0]
    if form == "zip":
        first.write_bytes(bytes(4 * LARGE))
        with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w", zipfile.ZIP_DEFLATED) as out:
            for file in path.rglob("*"):
                if file.is_file():
                    out.write(file, file.relative_to(path).as_posix())
        path = tmp_path / "a.zarr.zip"
    elif form == "shard":
        whole = first.read_bytes()
        index = np.frombuffer(whole[-68:-4], "<u8").copy()
        index[1] = 5 << 30
        checked = numcodecs.CRC32C(location="end").encode(index.view("u1"))
        with first.open("r+b") as file:
            file.truncate(5 << 30)
            file.seek(0, io.SEEK_END)
            file.write(bytes(checked))
    else:
        with first.open("r+b") as file:
            file.truncate(5 << 30)
    with open_slide(path) as slide, little_memory():
        (problem,) = check_slide(slide, threads=1).problems
        assert "more than" in problem.sentence


CHECKED: dict[str, tuple[int, Any]] = {
    "v2 gzip": (2, numcodecs.GZip()),
    "v2 zlib": (2, numcodecs.Zlib()),
    "v2 zstd": (2, numcodecs.Zstd(checksum=True)),
    "v3 gzip": (3, zarr.codecs.GzipCodec()),
    "v3 crc32c": (3, zarr.codecs.Crc32cCodec()),
    "v3 blosc and crc32c": (3, [zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec()]),
    "v3 zstd": (3, zarr.codecs.ZstdCodec(checksum=True)),
}


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(list(CHECKED)), at=st.floats(0, 0.999), bit=st.integers(0, 7), sharded=st.booleans())
def test_a_bit_that_is_flipped_under_a_checksum_is_found(kind: str, at: float, bit: int, sharded: bool) -> None:
    version, codec = CHECKED[kind]
    options = {"shards": (64, 64, 3)} if sharded and version == 3 else {}
    with tempfile.TemporaryDirectory() as folder:
        path = array(Path(folder) / "a.zarr", version, codec, **options)
        with open_slide(path) as slide:
            before = slide.read_view(1)
        file = chunks(path)[-1]
        data = bytearray(file.read_bytes())
        data[int(at * len(data))] ^= 1 << bit
        file.write_bytes(data)
        with open_slide(path) as slide:
            found = check_slide(slide)
            view = slide.scan_view(1)
        # A flipped bit of gzip's head (its time, its system) changes no pixel.
        harmless = "gzip" in kind and np.array_equal(view.pixels, before)
        assert harmless or not found.sound
        assert np.array_equal(view.pixels[~view.unreadable], before[~view.unreadable])


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([*CHECKED, "none", "v2 blosc"]), left=st.floats(0, 0.99), longer=st.booleans(),
)  # fmt: skip
def test_a_chunk_of_a_wrong_length_is_found(kind: str, left: float, longer: bool) -> None:
    version, codec = CHECKED.get(kind, (2, numcodecs.Blosc() if kind == "v2 blosc" else None))
    with tempfile.TemporaryDirectory() as folder:
        path = array(Path(folder) / "a.zarr", version, codec)
        file = chunks(path)[-1]
        data = file.read_bytes()
        file.write_bytes(data + data[:97] if longer and kind == "none" else data[: int(left * len(data))])
        with open_slide(path) as slide:
            (problem,) = check_slide(slide).problems
            assert (problem.x, problem.y) == (0, 0) and "is damaged or cut short" in problem.sentence


def test_jpeg_chunks_that_break_off_or_have_other_sides_are_found(tmp_path: Path) -> None:
    codec = imagecodecs.numcodecs.Jpeg()
    for number, damaged in enumerate((
        lambda whole: whole[: len(whole) // 2],
        lambda _: imagecodecs.jpeg8_encode(picture(16, 64)),
    )):  # fmt: skip
        path = array(tmp_path / f"{number}.zarr", 2, codec)
        with open_slide(path) as slide:
            assert check_slide(slide).sound
        chunks(path)[0].write_bytes(damaged(chunks(path)[0].read_bytes()))
        with open_slide(path) as slide:
            assert not check_slide(slide).sound


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(st.text("ab/0.é", min_size=1, max_size=8), st.binary(max_size=200), min_size=1, max_size=8),
    deflated=st.booleans(), before=st.binary(max_size=40), comment=st.binary(max_size=40),
    start=st.integers(0, 250), length=st.integers(0, 250),
)  # fmt: skip
def test_a_zip_is_read_as_pythons_own_module_reads_it(
    files: dict[str, bytes], deflated: bool, before: bytes, comment: bytes, start: int, length: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as out:
            for name, data in files.items():
                out.writestr(name, data)
            out.comment = comment
        path.write_bytes(before + path.read_bytes())
        store = ZipFolder(path)

        def read(name: str, span: Any = None) -> bytes:
            value = sync(store.get(name, default_buffer_prototype(), span))
            assert value is not None
            return bytes(value.to_bytes())

        with zipfile.ZipFile(path) as theirs:
            assert list(store.names) == list(dict.fromkeys(theirs.namelist()))
            for name in theirs.namelist():
                data = theirs.read(name)
                assert read(name) == data
                assert read(name, SuffixByteRequest(length)) == (data[-length:] if length else b"")
                if start < len(data):
                    assert read(name, RangeByteRequest(start, start + length)) == data[start : start + length]
        assert sync(store.get("not there", default_buffer_prototype())) is None
        store.close()


@pytest.mark.integration
def test_a_zip_of_more_files_than_its_first_kind_of_directory_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr.zip"
    side = 260
    said = {
        "shape": [16 * side, 16 * side], "chunks": [16, 16], "dtype": "|u1", "fill_value": 0, "order": "C",
        "filters": None, "compressor": None, "zarr_format": 2,
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(".zarray", json.dumps(said))
        for row in range(side):
            for col in range(side):
                out.writestr(f"{row}.{col}", bytes([row % 250 + 1]) * 256)
    with open_slide(path, mpp=1) as slide:
        assert slide.absent(0) is None
        (patch,) = slide.read_tiles([(16 * 70, 16 * 259, 16, 16)], 16)
        assert (patch == 259 % 250 + 1).all()


@pytest.mark.parametrize("cut", [1, 30, 70, 200])
def test_a_zip_that_was_cut_short_is_a_sentence(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(".zarray", "{}")
        out.writestr("0.0", bytes(100))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SlideError, match=r"^a\.zarr\.zip: neither a folder of Zarr nor a whole zip of one"):
        open_slide(path)
