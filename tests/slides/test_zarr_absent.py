"""Chunks that a Zarr does not hold: background, pixels of a finer level, or a sentence; never pixels made up."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.slides import Slide, check_slide, open_slide
from ats_cli.slides.formats.zarr.reader import ZarrReader
from ats_cli.slides.formats.zarr.store import CountingStore

FAULTS = Path(__file__).parents[1] / "data" / "faults"
CHUNK = 16

NAMES: dict[str, dict[str, Any]] = {
    "v2 .": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "v2 /": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v3 /": {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "/"}},
    "v3 .": {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3 v2": {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
}


def pyramid(path: Path, levels: list[NDArray[np.uint8]], names: str, fill: int, shards: bool = False) -> Path:
    """An OME-Zarr whose chunks that are all `fill` are not written."""
    options = NAMES[names]
    axes = "yxc"[: levels[0].ndim]
    group = zarr.create_group(path, zarr_format=options["zarr_format"])
    datasets = []
    for number, pixels in enumerate(levels):
        rest = pixels.shape[2:]
        array = group.create_array(
            str(number), shape=pixels.shape, dtype="u1", chunks=(CHUNK, CHUNK, *rest), fill_value=fill,
            shards=(2 * CHUNK, 2 * CHUNK, *rest) if shards and options["zarr_format"] == 3 else None,
            chunk_key_encoding=options["chunk_key_encoding"], config={"write_empty_chunks": False},
        )  # fmt: skip
        array[...] = pixels
        scale = [2.0**number] * 2 + [1.0] * len(rest)
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    said = {"multiscales": [{"axes": [{"name": axis} for axis in axes], "datasets": datasets, "version": "0.4"}]}
    group.attrs.update(said if options["zarr_format"] == 2 else {"ome": said})
    return path


def chunk_files(path: Path, level: int) -> list[Path]:
    metadata = ("zarr.json", ".zarray", ".zattrs")
    return sorted(f for f in (path / str(level)).rglob("*") if f.is_file() and f.name not in metadata)


def opened(path: Path, form: str) -> Slide:
    """The same Zarr as a folder, as a zip, or in a store that cannot be listed, as far away."""
    if form == "zip":
        with zipfile.ZipFile(path.with_suffix(".zarr.zip"), "w", zipfile.ZIP_DEFLATED) as out:
            for file in path.rglob("*"):
                if file.is_file():
                    out.write(file, file.relative_to(path).as_posix())
        return open_slide(path.with_suffix(".zarr.zip"))
    if form == "folder":
        return open_slide(path)
    return Slide(path, ZarrReader(path, store=CountingStore(zarr.storage.LocalStore(path, read_only=True))))


def reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    blocks = pixels.reshape(pixels.shape[0] // 2, 2, pixels.shape[1] // 2, 2, *pixels.shape[2:])
    return (blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)


def colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


@pytest.mark.integration
@settings(max_examples=12, deadline=None)
@given(data=st.data(), form=st.sampled_from(["folder", "zip", "far"]))
def test_a_chunk_that_a_lower_level_lacks_is_read_from_the_level_that_has_it(data: st.DataObject, form: str) -> None:
    colour, fill = data.draw(st.booleans()), data.draw(st.sampled_from([0, 255]))
    rows, cols = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    grain = data.draw(st.sampled_from([1, 4]))  # chunks, or whole groups of them that are read together
    tissue = np.kron(rng.random((4 * rows // grain, 4 * cols // grain)) < 0.4, np.ones((grain, grain), bool))
    tissue[rng.integers(4 * rows), rng.integers(4 * cols)] = True
    pixels = rng.integers(30, 220, (64 * rows, 64 * cols, 3 if colour else 1), dtype=np.uint8)
    pixels[~np.kron(tissue, np.ones((CHUNK, CHUNK), bool))] = fill
    first = pixels if colour else pixels[..., 0]
    # Far away the next finer level alone is asked, so that one level lacks chunks.
    levels = [first, reduced(first), reduced(reduced(first))][: 2 if form == "far" else 3]
    with tempfile.TemporaryDirectory() as folder:
        names, shards = data.draw(st.sampled_from(list(NAMES))), data.draw(st.booleans())
        path = pyramid(Path(folder) / "a.zarr", levels, names, fill, shards)
        for level in range(1, len(levels)):
            lost = rng.random(len(chunk_files(path, level))) < data.draw(st.sampled_from([0.2, 1.0]))
            for file, gone in zip(chunk_files(path, level), lost, strict=True):
                if gone:
                    file.unlink()
        with opened(path, form) as slide:
            for level, wanted in enumerate(levels):
                view = slide.scan_view(2.0**level, threads=1)
                assert view.problem is None and np.abs(view.pixels.astype(int) - colours(wanted)).max() <= 1
                absent = slide.absent(level)
                if absent is None:
                    continue
                # What is absent has no pixel of the finest level under it.
                sides = slide.levels[level].tile_height, slide.levels[level].tile_width
                gone = np.kron(absent, np.ones(sides, bool))[: wanted.shape[0], : wanted.shape[1]]
                assert (colours(wanted)[gone] == fill).all()
            # A level of which nothing is left is a fault of the file, though all can be read.
            left = [level for level in range(len(levels)) if chunk_files(path, level)]
            assert {problem.level for problem in check_slide(slide).problems} == set(range(len(levels))) - set(left)


@pytest.mark.integration
@settings(max_examples=30, deadline=None)
@given(
    written=st.sampled_from(list(NAMES)), asked=st.sampled_from(list(NAMES)),
    form=st.sampled_from(["folder", "zip", "far"]), colour=st.booleans(), fill=st.sampled_from([0, 255]),
    shards=st.booleans(),
)  # fmt: skip
def test_chunks_under_other_names_than_the_metadata_asks_for(
    written: str, asked: str, form: str, colour: bool, fill: int, shards: bool
) -> None:
    pixels = np.random.default_rng(0).integers(40, 90, (80, 96, 3) if colour else (80, 96), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = pyramid(Path(folder) / "a.zarr", [pixels], written, fill, shards)
        if NAMES[written]["zarr_format"] != NAMES[asked]["zarr_format"]:
            asked = written
        file = path / "0" / (".zarray" if asked.startswith("v2") else "zarr.json")
        said = json.loads(file.read_text())
        encoding = NAMES[asked]["chunk_key_encoding"]
        if asked.startswith("v2"):
            said["dimension_separator"] = encoding["separator"]
        else:
            said["chunk_key_encoding"] = {
                "name": encoding["name"],
                "configuration": {"separator": encoding["separator"]},
            }
        file.write_text(json.dumps(said))
        if asked == written:
            with opened(path, form) as slide:
                assert np.array_equal(slide.read_view(1), colours(pixels)) and check_slide(slide).sound
        elif form == "far":
            with opened(path, form) as slide:
                with pytest.raises(SlideError, match=r"^a\.zarr: .*none of the \d+ chunks .* is there\.$"):
                    slide.read_view(1)
                assert not check_slide(slide).sound
        else:
            with pytest.raises(
                SlideError, match=r"^a\.zarr.*: the chunks of the array 0 are called like 0/.*names like 0/"
            ):
                opened(path, form)


def test_one_chunk_under_another_name_is_damage_in_its_place(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(40, 90, (128, 128), dtype=np.uint8)
    path = pyramid(tmp_path / "a.zarr", [pixels], "v2 .", 0)
    (path / "0" / "5").mkdir()
    (path / "0" / "5.6").rename(path / "0" / "5" / "6")
    with open_slide(path) as slide:
        assert slide.absent(0) is None
        view = slide.scan_view(1)
        assert view.unreadable[80:96, 96:112].all() and not view.unreadable[:64].any()
        (problem,) = check_slide(slide).problems
        assert "chunk 5.6 of the array 0 is called 0/5/6, which is not the name that" in problem.sentence


@pytest.mark.parametrize("name", ["grey_sep_mismatch", "grey_no_chunks"])
def test_a_zarr_of_which_no_chunk_can_be_found_is_refused(name: str) -> None:
    with pytest.raises(SlideError, match=rf"^{name}\.zarr: .*the array 0"):
        open_slide(FAULTS / "zarr-chunk-separator" / f"{name}.zarr")


def test_black_chunks_of_a_colour_slide_that_are_not_written_were_not_scanned() -> None:
    path = FAULTS / "zarr-black-chunks-not-written" / "black_half_not_written.zarr"
    with open_slide(path) as slide:
        stored = np.moveaxis(np.asarray(zarr.open_array(path / "0", mode="r")[:]), 0, -1)
        assert np.array_equal(slide.read_view(1), stored) and not stored[:, 512:].any() and stored[:, :512].any()
        absent = slide.absent(0)
        assert absent is not None and absent[:, 2:].all() and not absent[:, :2].any()
        assert check_slide(slide).sound


@pytest.mark.parametrize("size", [(97, 16), (16, 97), (33, 65), (63, 127)])
def test_the_last_pixel_of_a_level_that_is_rounded_down_is_read_from_the_finer_one(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(30, 220, size, dtype=np.uint8)
    lower = reduced(pixels[: size[0] // 2 * 2, : size[1] // 2 * 2])
    path = pyramid(tmp_path / "a.zarr", [pixels, lower], "v2 .", 255)
    chunk_files(path, 1)[-1].unlink()
    with open_slide(path) as slide:
        view = slide.read_view(2)
    even = np.pad(pixels, [(0, side % 2) for side in size], mode="edge")
    assert np.abs(view[..., 0].astype(int) - reduced(even)).max() <= 1


def test_a_level_with_another_fill_value_shows_the_colour_of_the_finest(tmp_path: Path) -> None:
    pixels = np.full((64, 128), 255, np.uint8)
    pixels[:, :64] = 90
    path = pyramid(tmp_path / "a.zarr", [pixels, reduced(pixels)], "v2 .", 255)
    said = json.loads((path / "1" / ".zarray").read_text())
    (path / "1" / ".zarray").write_text(json.dumps(said | {"fill_value": 0}))
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_view(2), colours(reduced(pixels))) and check_slide(slide).sound


@pytest.mark.integration
@pytest.mark.parametrize("fill", [0, 255])
def test_a_hole_has_the_fill_value_at_every_level(tmp_path: Path, fill: int) -> None:
    pixels = np.full((256, 256), 90, np.uint8)
    pixels[:, 128:] = fill
    path = pyramid(tmp_path / "a.zarr", [pixels, reduced(pixels)], "v2 .", fill)
    with open_slide(path) as slide:
        for downsample in (1, 2, 4):
            assert (slide.read_view(downsample)[:, 128 // downsample :] == fill).all()
        absence = slide.absence(2)
        assert absence is not None and absence.of(np.array([(128.0, 0, 128, 128), (64, 0, 64, 64)])).tolist() == [1, 0]
