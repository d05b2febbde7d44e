"""Zarr: every layout that writers write, read back; and what is lost or damaged is told, not shown as pixels."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import Plane, Slide, find_slides, open_slide
from ats_cli.slides.formats.zarr.reader import ZarrReader
from ats_cli.slides.formats.zarr.store import CountingStore


def write(path: Any, levels: list[NDArray[Any]], axes: str = "yxc", v: int = 2, **options: Any) -> Path:
    """An OME-Zarr, in a folder or a store, written by the zarr library: each level half of the one before."""
    group = zarr.create_group(path, zarr_format=v)
    datasets = []
    for number, pixels in enumerate(levels):
        chunks = tuple({"y": 32, "x": 48, "c": 3}.get(axis, 1) for axis in axes)
        array = group.create_array(
            str(number), shape=pixels.shape, dtype=pixels.dtype, **{"chunks": chunks, "fill_value": 255, **options}
        )
        array[...] = pixels
        scale = [0.25 * 2**number if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    kinds = {"t": "time", "c": "channel"}
    named = [
        {"name": axis, "type": kinds.get(axis, "space")} | ({"unit": "micrometer"} if axis in "zyx" else {})
        for axis in axes
    ]
    multiscales = [{"name": "a", "axes": named, "datasets": datasets, "version": "0.4"}]
    said = {"multiscales": multiscales}
    group.attrs.update(said if v == 2 else {"ome": {"version": "0.5", **said}})
    return path


def zipped(folder: Path, path: Path, within: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                out.write(file, within + file.relative_to(folder).as_posix())
    return path


def level(slide: Slide, number: int = 0) -> NDArray[np.uint8]:
    lv = slide.levels[number]
    ((pixels, damage),) = slide.scan_level(number, [(0, 0, lv.width, lv.height)], 2)
    assert not damage
    return pixels


def printed(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The (row, col) that each block of 8 x 8 pixels of the grid XYC has printed in its corner, in bits."""
    corners = pixels.reshape(pixels.shape[0] // 8, 8, pixels.shape[1] // 8, 8, 3)[:, :2, :, :2].swapaxes(1, 2)
    return ((corners > 127).reshape(*corners.shape[:2], 2, 6) * 2 ** np.arange(5, -1, -1)).sum(axis=3)


LAYOUTS: dict[str, dict[str, Any]] = {
    "v2": {"v": 2},
    "v2 nested": {"v": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v3": {"v": 3},
    "v3 sharded": {"v": 3, "shards": (64, 96, 3)},
    "v3 plain bytes": {"v": 3, "compressors": None},
}


@pytest.mark.integration
@pytest.mark.parametrize("form", ["folder", "zip", "zip of a folder"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_coordinates_printed_in_the_grid(data: Path, tmp_path: Path, layout: str, form: str) -> None:
    grid = np.asarray(Image.open(data / "wsic-samples" / "XYC.png"))
    blocks = grid.reshape(64, 8, 64, 8, 3).swapaxes(1, 2)
    # Every second block of the level before: so each level prints the coordinates of level 0.
    levels = [blocks[::d, ::d].swapaxes(1, 2).reshape(512 // d, 512 // d, 3) for d in (1, 2, 4)]
    path = write(tmp_path / "xyc.ome.zarr", levels, **LAYOUTS[layout])
    if form != "folder":
        path = zipped(path, tmp_path / "xyc.ome.zarr.zip", "" if form == "zip" else "xyc.ome.zarr/")
    with open_slide(path) as slide:
        assert slide.reader == "zarr" and slide.vendor == "ome-zarr" and slide.plane is None
        assert slide.mpp == 0.25 and slide.mpp_source == "ome-zarr scale"
        assert [(lv.width, lv.downsample, lv.tile_width, lv.tile_height) for lv in slide.levels] == [
            (512 // d, d, 96, 64) for d in (1, 2, 4)
        ]
        for number in range(3):
            where = printed(level(slide, number))
            assert np.array_equal(where, np.moveaxis(np.mgrid[0 : 64 : 2**number, 0 : 64 : 2**number], 0, -1))
        boxes = [(400, 8, 64, 64), (8, 400, 16, 64)]
        for (x, y, w, h), (pixels, _) in zip(boxes, slide.scan_level(0, boxes, 3), strict=True):
            assert np.array_equal(pixels, grid[y : y + h, x : x + w])


@pytest.mark.integration
def test_jpeg_chunks_without_metadata_are_the_svs(data: Path) -> None:
    samples = data / "wsic-samples"
    for path in (samples / "CMU-1-Small-Region-JPEG.zarr", samples / "CMU-1-Small-Region-JPEG.zarr" / "0"):
        slide = open_slide(path, mpp=0.499)
        svs = open_slide(samples / "CMU-1-Small-Region.svs", backend="openslide")
        assert slide.levels[0].compression == "jpeg" and (slide.mpp, slide.mpp_source) == (0.499, "given")
        for x, y in np.random.default_rng(0).integers(0, 1900, (20, 2)):
            ((ours, _),) = slide.scan_level(0, [(int(x), int(y), 300, 200)], 2)
            ((theirs, _),) = svs.scan_level(0, [(int(x), int(y), 300, 200)], 1)
            assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations("tczyx"),
    without=st.sampled_from(["", "t", "tz", "tzc"]),
    channels=st.sampled_from([1, 3]),
    chunk=st.tuples(st.integers(5, 40), st.integers(5, 40), st.integers(1, 3)),
    v=st.sampled_from([2, 3]),
)
def test_axes_in_any_order(order: list[str], without: str, channels: int, chunk: tuple[int, int, int], v: int) -> None:
    axes = [axis for axis in order if axis not in without]
    sizes = {"t": 2, "c": channels, "z": 3, "y": 37, "x": 29}
    whole = np.random.default_rng(0).integers(0, 256, [sizes[axis] for axis in axes], dtype=np.uint8)
    chunks = dict(zip("yxc", chunk, strict=True)) | {"c": min(chunk[2], channels), "z": 2}
    store = zarr.storage.MemoryStore()
    write(store, [whole], "".join(axes), v, chunks=tuple(chunks.get(axis, 1) for axis in axes))
    reader = ZarrReader(Path("a.zarr"), store=CountingStore(store))
    ((pixels, damage),) = reader.read(0, [(0, 0, 29, 37)], 1)
    # The first time point, the middle focal plane; then rows, columns and colours.
    shown = whole[tuple({"t": 0, "z": 1}.get(axis, slice(None)) for axis in axes)]
    left = [axis for axis in axes if axis not in "tz"]
    expected = shown.transpose([left.index(axis) for axis in "yxc" if axis in left]).reshape(37, 29, -1)
    assert np.array_equal(pixels, np.broadcast_to(expected, (37, 29, 3))) and not damage
    assert reader.plane == (", ".join({"t": "t=0 of 2", "z": "z=1 of 3"}[a] for a in axes if a in "tz") or None)


def test_a_plane_can_be_chosen(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 40, 50), dtype=np.uint8)
    path = write(tmp_path / "a.zarr", [whole], "tczyx")
    with pytest.raises(SlideError, match=r"^a\.zarr: 4 channels .*--plane c=0 to c=3\.$"):
        open_slide(path)
    slide = open_slide(path, plane=Plane(c=2, z=4, t=1))
    assert np.array_equal(level(slide)[..., 1], whole[1, 2, 4])
    assert slide.plane == "t=1 of 2, c=2 of 4, z=4 of 5"
    with pytest.raises(SlideError, match="no z=5"):
        open_slide(path, plane=Plane(c=2, z=5))


def test_three_channels_of_other_colours_are_not_red_green_and_blue(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", [picture(40, 50)])
    group = zarr.open_group(path)
    group.attrs["omero"] = {"channels": [{"color": c, "label": c} for c in ("0000FF", "00FF00", "FF0000")]}
    with pytest.raises(SlideError, match=r"3 channels \(0000FF, 00FF00, FF0000\) that are not red, green and blue"):
        open_slide(path)
    group.attrs["omero"] = {"channels": [{"color": c} for c in ("FF0000", "00FF00", "0000FF")]}
    assert np.array_equal(level(open_slide(path)), picture(40, 50))


@pytest.mark.integration
def test_the_layout_of_bioformats2raw(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "raw.zarr", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    main, label = picture(200, 300), picture(30, 40, 1)
    write(tmp_path / "raw.zarr" / "0", [main, main[::2, ::2]])
    write(tmp_path / "raw.zarr" / "1", [label])
    zarr.create_group(tmp_path / "raw.zarr" / "OME", zarr_format=2).attrs["series"] = ["0", "1"]
    slide = open_slide(tmp_path / "raw.zarr")
    assert np.array_equal(level(slide), main) and slide.plane == "series=0 of 2" and len(slide.levels) == 2
    assert np.array_equal(level(open_slide(tmp_path / "raw.zarr", plane=Plane(series=1))), label)
    assert np.array_equal(level(open_slide(tmp_path / "raw.zarr" / "1")), label)
    larger = picture(300, 300)
    write(tmp_path / "raw.zarr" / "2", [larger])
    ome = zarr.open_group(tmp_path / "raw.zarr" / "OME")
    ome.attrs["series"] = ["0", "1", "2"]
    assert np.array_equal(level(open_slide(tmp_path / "raw.zarr")), larger)
    side = zarr.open_group(tmp_path / "raw.zarr" / "2")
    side.attrs["multiscales"] = [side.attrs["multiscales"][0] | {"name": "macro image"}]
    # The largest is the slide, whatever it is called; of two of one size a name decides.
    assert np.array_equal(level(open_slide(tmp_path / "raw.zarr")), larger)
    same = picture(300, 300)[::-1]
    write(tmp_path / "raw.zarr" / "3", [same])
    ome.attrs["series"] = ["0", "1", "2", "3"]
    assert np.array_equal(level(open_slide(tmp_path / "raw.zarr")), same)
    side.attrs["multiscales"] = [side.attrs["multiscales"][0] | {"name": "CD68_macrophages, unlabeled"}]
    assert np.array_equal(level(open_slide(tmp_path / "raw.zarr")), larger)
    ome.attrs["series"] = ["0", "1", "7"]
    with pytest.raises(SlideError, match="an image that its metadata lists is not there"):
        open_slide(tmp_path / "raw.zarr")


@pytest.mark.parametrize(
    ("shape", "says"),
    [((40, 50), None), ((40, 50, 3), None), ((3, 40, 50), None), ((40, 50, 4), "4 channels"), ((9, 40, 50), "3 axes")],
)
def test_plain_arrays(tmp_path: Path, shape: tuple[int, ...], says: str | None) -> None:
    whole = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    zarr.create_array(tmp_path / "a.zarr", data=whole, chunks=tuple(min(n, 16) for n in shape))
    if says is not None:
        with pytest.raises(SlideError, match=rf"^a\.zarr: {says}"):
            open_slide(tmp_path / "a.zarr")
        return
    slide = open_slide(tmp_path / "a.zarr")
    expected = whole if shape[-1] == 3 else whole.transpose(1, 2, 0) if len(shape) == 3 else whole[..., None]
    assert np.array_equal(level(slide), np.broadcast_to(expected, (40, 50, 3))) and slide.mpp is None


def test_dimension_names_of_a_plain_array_are_used(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (9, 40, 50), dtype=np.uint8)
    zarr.create_array(tmp_path / "a.zarr", data=whole, dimension_names=("z", "y", "x"))
    slide = open_slide(tmp_path / "a.zarr")
    assert np.array_equal(level(slide)[..., 0], whole[4]) and slide.plane == "z=4 of 9"


def test_values_are_shown_as_the_display_range_of_the_channel_says(tmp_path: Path) -> None:
    values = np.linspace(0, 4000, 40 * 50).reshape(1, 40, 50).astype(np.uint16)
    path = write(tmp_path / "a.zarr", [np.concatenate([values, values // 2])], "cyx", fill_value=1000)
    with pytest.raises(SlideError, match=r"type uint16, and the file does not say which values are black"):
        open_slide(path, plane=Plane(c=0))
    window = {"min": 0, "max": 65535, "start": 1000, "end": 3000}
    zarr.open_group(path).attrs["omero"] = {"channels": [{"label": "DAPI"}, {"window": window}]}
    slide = open_slide(path, plane=Plane(c=1))
    expected = np.clip((values[0] // 2 - 1000.0) / 2000 * 255, 0, 255).round().astype(np.uint8)
    assert np.abs(level(slide)[..., 0].astype(int) - expected).max() <= 1


@pytest.mark.integration
@pytest.mark.parametrize("layout", ["v2", "v3", "v3 sharded"])
def test_chunks_that_were_not_written_are_holes_where_the_fill_is_white(tmp_path: Path, layout: str) -> None:
    pixels = picture(200, 300)
    pixels[:64, :96] = pixels[130:, 200:] = 255
    path = write(tmp_path / "a.zarr", [pixels], **LAYOUTS[layout])
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < pixels.size
    for one in (path, zipped(path, tmp_path / "a.zarr.zip")):
        slide = open_slide(one)
        absent = slide.absent(0)
        assert absent is not None and absent.shape == (4, 4)
        assert absent[0, 0] and not absent[1, 1] and absent.sum() >= 2
        assert np.array_equal(level(slide), pixels)
        absence = slide.absence(1)
        assert absence is not None
        assert absence.of(np.array([(0.0, 0, 60, 60), (90, 0, 60, 60)])).tolist() == [True, False]


def test_black_is_background_and_grey_is_not(tmp_path: Path) -> None:
    dark = np.zeros((200, 300), np.uint8)
    dark[100:, 100:] = 9
    grey = open_slide(write(tmp_path / "g.zarr", [dark], "yx", fill_value=0))
    absent = grey.absent(0)
    assert absent is not None and absent[0, 0] and np.array_equal(level(grey)[..., 0], dark)
    colour = open_slide(write(tmp_path / "c.zarr", [np.repeat(dark[..., None], 3, 2)], fill_value=0))
    absent = colour.absent(0)
    assert absent is not None and absent[0, 0] and np.array_equal(level(colour)[..., 1], dark)
    dark[:100, :100] = 100
    middle = open_slide(write(tmp_path / "m.zarr", [np.repeat(dark[..., None], 3, 2)], fill_value=100))
    assert middle.absent(0) is None
    ((_, damage),) = middle.scan_level(0, [(0, 0, 10, 10)], 1)
    assert damage[0].reason == (
        "m.zarr: chunk 0.0.0 of the array 0 is absent, and the array's fill value (100) is no background."
    )


@pytest.mark.integration
@pytest.mark.parametrize("layout", ["v2", "v3", "v3 sharded"])
def test_a_chunk_that_is_lost_or_damaged_is_told_in_its_place(tmp_path: Path, layout: str) -> None:
    pixels = np.maximum(picture(200, 300), 1)
    path = write(tmp_path / "a.zarr", [pixels], fill_value=100, **LAYOUTS[layout])
    files = sorted(file for file in (path / "0").rglob("*") if file.is_file() and file.name[0].isdigit())
    files[0].unlink()
    files[-1].write_bytes(files[-1].read_bytes()[:-40])
    slide = open_slide(path)
    ((shown, damage),) = slide.scan_level(0, [(0, 0, 300, 200)], 2)
    assert {part.reason[:14] for part in damage} == {"a.zarr: chunk "}
    assert {"absent" in part.reason for part in damage} == {True, False}
    touched = np.zeros((200, 300), bool)
    for part in damage:
        x, y, w, h = part.box
        touched[y : y + h, x : x + w] = True
    assert touched[0, 0] and touched[-1, -1] and touched.mean() < 0.7
    assert (shown[touched] == 255).all() and np.array_equal(shown[~touched], pixels[~touched])


def test_a_damaged_index_of_a_shard_hides_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", [picture(60, 90)], **LAYOUTS["v3 sharded"])
    (shard,) = (path / "0" / "c").rglob("0/0/0")
    whole = bytearray(shard.read_bytes())
    whole[-68:-4] = b"\xff" * 64  # "nothing is here", under a checksum of what was there
    shard.write_bytes(whole)
    slide = open_slide(path)
    assert slide.absent(0) is None
    ((_, damage),) = slide.scan_level(0, [(0, 0, 10, 10)], 1)
    assert "damaged or cut short" in damage[0].reason


def test_bytes_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", [picture(200, 300)], compressors=None)
    slide = open_slide(path)
    before = slide.bytes_read
    assert before is not None and before < 5000
    list(slide.read_tiles([(50, 70, 40, 20), (60, 65, 20, 20)], 20))
    assert slide.bytes_read == before + 2 * 2 * 32 * 48 * 3  # a tile is two by two chunks
    assert slide.bytes_total == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_the_index_of_a_shard_is_read_once(tmp_path: Path) -> None:
    pixels = picture(128, 192)
    path = write(tmp_path / "a.zarr", [pixels], v=3, shards=(128, 192, 3), compressors=None)
    slide = open_slide(path)
    before = slide.bytes_read
    assert before is not None and np.array_equal(level(slide), pixels) and np.array_equal(level(slide), pixels)
    assert slide.bytes_read == before + 2 * pixels.size + 16 * 4 * 4 + 4


def test_a_promise_of_a_million_pixels_a_side_allocates_nothing(tmp_path: Path) -> None:
    import tracemalloc

    shape, chunks = (1_000_000, 1_000_000, 3), (512, 512, 3)
    held = zarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=chunks, dtype="u1", fill_value=255)
    held[:64, :64] = 7
    zarr.create_array(tmp_path / "lost.zarr", shape=shape, chunks=chunks, dtype="u1", fill_value=0)
    zarr.create_array(tmp_path / "one.zarr", shape=shape, chunks=shape, dtype="u1", fill_value=255)
    tracemalloc.start()
    slide = open_slide(tmp_path / "a.zarr")
    assert slide.width == 1_000_000
    assert next(slide.read_tiles([(999_000, 5e5, 64, 64)], 64)).min() == 255
    with pytest.raises(SlideError, match=r"not one chunk of the array / is there"):
        open_slide(tmp_path / "lost.zarr")
    with pytest.raises(SlideError, match="chunks of 1000000 x 1000000 x 3 are too large"):
        open_slide(tmp_path / "one.zarr")
    # The first array that is opened loads modules too: up to 17 MB.
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("{", "its Zarr metadata could not be read"),
        (json.dumps({"multiscales": 3}), "its Zarr metadata is not understood"),
        (json.dumps({"multiscales": [{}]}), "names no arrays"),
        (json.dumps({"multiscales": [{"datasets": [{"path": "9"}]}]}), "the array 9 that its metadata names"),
        (json.dumps({"multiscales": [{"datasets": [{"path": "0"}], "axes": ["a", "b", "c"]}]}), "3 axes of which"),
        (json.dumps({"plate": {}}), "a plate of many images"),
    ],
)
def test_metadata_that_cannot_be_is_a_sentence(tmp_path: Path, said: str, says: str) -> None:
    path = write(tmp_path / "a.zarr", [picture(40, 50)])
    (path / ".zattrs").write_text(said)
    with pytest.raises(SlideError, match=rf"^a\.zarr: .*{says}.*\.$"):
        open_slide(path)


@pytest.mark.parametrize("scale", [[0, 0, 1], [1, 1], ["x", 1, 1], None])
def test_a_scale_that_cannot_be_leaves_the_pixels_and_no_mpp(tmp_path: Path, scale: Any) -> None:
    path = write(tmp_path / "a.zarr", [picture(40, 50), picture(20, 25)])
    said = json.loads((path / ".zattrs").read_text())
    for dataset in said["multiscales"][0]["datasets"]:
        dataset["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    (path / ".zattrs").write_text(json.dumps(said))
    slide = open_slide(path)
    assert slide.mpp is None and [lv.downsample for lv in slide.levels] == [1, 2]


def test_what_is_no_zarr_is_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", [picture(200, 300)])
    cut = zipped(path, tmp_path / "cut.zarr.zip")
    cut.write_bytes(cut.read_bytes()[:-200])
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as out:
        out.writestr("a.txt", "text")
    (tmp_path / "none.zarr").mkdir()
    Image.fromarray(picture(9, 9)).save(tmp_path / "a.png")
    write(tmp_path / "deep.zarr", [picture(9, 9).astype(np.uint16)])
    for name, says in {
        "cut.zarr.zip": "neither a folder of Zarr nor a whole zip",
        "z.zip": "a zip without a Zarr in it",
        "none.zarr": "no Zarr array or group is there",
        "a.png": "neither a folder of Zarr",
        "deep.zarr": "pixels of type uint16",
    }.items():
        with pytest.raises(SlideError, match=rf"^{name}: .*{says}.*\.$"):
            open_slide(tmp_path / name, backend="zarr")


def test_a_zip_cut_in_its_middle_is_damage_in_its_place(tmp_path: Path) -> None:
    path = zipped(write(tmp_path / "a.zarr", [picture(200, 300)], compressors=None), tmp_path / "a.zarr.zip")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 50] = bytes(50)
    path.write_bytes(whole)
    ((_, damage),) = open_slide(path).scan_level(0, [(0, 0, 300, 200)], 2)
    assert len(damage) == 1 and "damaged or cut short" in damage[0].reason


def test_found_in_a_folder_as_one_slide_each(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr", [picture(40, 50)])
    zipped(path, tmp_path / "b.ome.zarr.zip")
    zipped(path, tmp_path / "c.ozx")
    zipped(path, tmp_path / "other.zip")
    assert [source.slide_id for source in find_slides([str(tmp_path)])] == ["a", "b", "c"]
