"""A slide's files that change while they are read, or are no files: a sentence, never a mixture of two slides."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from slide_pictures import picture
from small import SPEC, noise, random_model, write_slide
from test_dicom import frames_of
from test_dicom import write as write_dicom

from ats_cli.errors import SlideError
from ats_cli.inference.executors.predict_task import predict_task
from ats_cli.inference.executors.slide_task import SlideTask
from ats_cli.slides import Slide, SlideSource, find_slides, open_slide

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"
MIRAX = Path(__file__).parents[1] / "data" / "faults" / "multi-file-slide-by-a-link" / "mrxs"
LONG_AGO = (1_500_000_000, 1_500_000_000)


def tiff(folder: Path, seed: int) -> tuple[Path, Path]:
    tifffile.imwrite(folder / "a.tif", picture(160, 200, seed), tile=(32, 48), photometric="rgb", metadata=None)
    return folder / "a.tif", folder / "a.tif"


def strips(folder: Path, seed: int) -> tuple[Path, Path]:
    Image.fromarray(picture(160, 200, seed)).save(folder / "b.tif")
    return folder / "b.tif", folder / "b.tif"


def png(folder: Path, seed: int) -> tuple[Path, Path]:
    Image.fromarray(picture(160, 200, seed)).save(folder / "a.png")
    return folder / "a.png", folder / "a.png"


def svs(folder: Path, seed: int) -> tuple[Path, Path]:
    shutil.copy(EXAMPLE, folder / "a.svs")
    return folder / "a.svs", folder / "a.svs"


def dicom(folder: Path, seed: int) -> tuple[Path, Path]:
    """Two levels; the file that changes is not the one that is named."""
    for level in (0, 1):
        pixels = picture(160 >> level, 200 >> level, seed)
        write_dicom(folder / f"{level}.dcm", pixels, frames_of(pixels))
    return folder / "0.dcm", folder / "1.dcm"


def mirax(folder: Path, seed: int) -> tuple[Path, Path]:
    """What changes is the file of its pixels."""
    shutil.copy(MIRAX / "holes.mrxs", folder)
    shutil.copytree(MIRAX / "holes", folder / "holes")
    return folder / "holes.mrxs", folder / "holes" / "Data0000.dat"


def zarr_folder(folder: Path, seed: int) -> tuple[Path, Path]:
    """What changes is the metadata of the one array."""
    group = zarr.create_group(folder / "a.zarr", zarr_format=2)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": axes,
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}],
        }
    ]
    group.create_array("0", data=picture(160, 200, seed)[..., 0], chunks=(32, 48))
    return folder / "a.zarr", folder / "a.zarr" / "0" / ".zarray"


def zarr_zip(folder: Path, seed: int) -> tuple[Path, Path]:
    zarr_folder(folder, seed)
    shutil.make_archive(str(folder / "a.zarr"), "zip", folder / "a.zarr")
    return folder / "a.zarr.zip", folder / "a.zarr.zip"


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, LONG_AGO)  # `cp --preserve`: the same size and time
    other.replace(path)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(path.read_bytes())


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)
    os.utime(path, LONG_AGO)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, LONG_AGO)


def read_tiles(slide: Slide) -> None:
    list(slide.read_tiles([(10, 10, 40, 40), (33, 61, 90, 90)], 20))


def read_a_view(slide: Slide) -> None:
    slide.read_view(3, rows=(0, 20))


def read_a_level(slide: Slide) -> None:
    list(slide.scan_level(0, [(0, 0, 30, 30), (40, 40, 10, 10)], 2))


@pytest.mark.integration
@given(
    st.sampled_from([tiff, strips, png, svs, dicom, mirax, zarr_folder, zarr_zip]),
    st.sampled_from([replace, overwrite, cut_off, append, Path.unlink]),
    st.lists(st.sampled_from([read_tiles, read_a_view, read_a_level]), max_size=2),
    st.sampled_from([read_tiles, read_a_view, read_a_level]),
    st.sampled_from([None, "srgb"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_to_a_file_nothing_more_is_read_from_the_slide(
    write: Callable[[Path, int], tuple[Path, Path]],
    change: Callable[[Path], None],
    before: list[Callable[[Slide], None]],
    after: Callable[[Slide], None],
    color_profile: str | None,
    openslide: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, changed = write(Path(folder), 0)
        os.utime(changed, LONG_AGO)
        backend = "openslide" if openslide and write is svs else None
        with open_slide(path, backend=backend, color_profile=color_profile or "none") as slide:
            for read in before:
                read(slide)
            change(changed)
            with pytest.raises(SlideError, match=r"^\S+: .*\.$") as caught:
                after(slide)
            if change not in (Path.unlink, cut_off):
                assert "was changed while it was read. Run it again." in str(caught.value)


def test_a_slide_replaced_between_two_tiles(tmp_path: Path) -> None:
    path, _ = tiff(tmp_path, 0)
    patches = open_slide(path).scan_tiles([(x, y, 64, 64) for x in (0, 50, 100) for y in (0, 50)], 64, threads=1)
    assert np.array_equal(next(patches), picture(160, 200)[:64, :64])
    tiff(tmp_path / "..", 1)[0].replace(path)
    with pytest.raises(SlideError, match=r"^a\.tif: the file was changed while it was read\. Run it again\.$"):
        list(patches)


@pytest.mark.parametrize("same", [False, True])
def test_a_prediction_of_a_slide_that_is_replaced_under_way_fails(tmp_path: Path, same: bool) -> None:
    path = write_slide(tmp_path / "a.tif", noise(400, 400))
    beside = write_slide(tmp_path / "new" / "a.tif", noise(400, 400, seed=int(not same)))
    moved = []

    def on_progress(slide_id: str, done: int, total: int) -> None:
        if not moved:
            moved.append(beside.replace(path))

    prediction = predict_task(SlideTask(SlideSource("a", path)), random_model(SPEC), on_progress)
    assert moved and prediction.status == "failed"
    assert prediction.error == "a.tif: the file was changed while it was read. Run it again."
    assert predict_task(SlideTask(SlideSource("a", path)), random_model(SPEC)).status == "ok"


def test_a_slide_at_rest_may_be_read_again_and_be_renamed_beside(tmp_path: Path) -> None:
    """Neither a link nor other access rights nor a neighbour make another slide of it."""
    path, _ = tiff(tmp_path, 0)
    with open_slide(path) as slide:
        first = slide.read_view(2)
        (tmp_path / "link.tif").hardlink_to(path)
        path.chmod(0o400)
        png(tmp_path, 1)
        assert np.array_equal(slide.read_view(2), first)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.svs", "a.zarr", "a.mrxs", "a"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as server:
        os.mkfifo(Path(short) / name)
        (Path(short) / "link.tif").symlink_to(Path(short) / name)
        server.bind(f"{short}/socket.tif")
        for path, what in {
            Path(short) / name: "a named pipe",
            Path(short) / "link.tif": "a named pipe",
            Path(short) / "socket.tif": "a socket",
            Path("/dev/zero"): "a device",
        }.items():
            (source,) = find_slides([str(path)])
            with pytest.raises(SlideError, match=rf"^{path.name}: {what}, not a file\. Write the slide to a file"):
                open_slide(source.path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("name", [".zattrs", ".zgroup", "0/.zarray", "0/0.0", "0/4.4"])
def test_a_pipe_inside_a_zarr_is_not_waited_for(tmp_path: Path, name: str) -> None:
    path, _ = zarr_folder(tmp_path, 0)
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(SlideError, match=rf"{Path(name).name}: a named pipe, not a file"):
        open_slide(path).read_view(1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_beside_the_files_of_a_dicom_series_is_passed_over(tmp_path: Path) -> None:
    path, _ = dicom(tmp_path, 0)
    os.mkfifo(tmp_path / "2.dcm")
    for opened in (path, tmp_path):
        assert np.array_equal(open_slide(opened).read_view(1), picture(160, 200))


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipe")
def test_a_pipe_as_the_standard_input_is_no_slide() -> None:
    code = """
from ats_cli import errors, slides
try:
    slides.open_slide("/dev/stdin")
except errors.SlideError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], input=b"II*\0", capture_output=True, check=True)
    assert done.stdout.decode().startswith("stdin: a named pipe, not a file.")
