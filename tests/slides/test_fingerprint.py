"""What tells a slide from another: copies are alike, another slide of the same name is not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from range_server import range_server
from test_file_state import dicom, png, strips, tiff, zarr_folder, zarr_zip

from ats_cli.slides import RemotePath
from ats_cli.slides.identity.content_digest import SAMPLE
from ats_cli.slides.identity.fingerprint import fingerprint

MAKERS = (tiff, strips, png, dicom, zarr_folder, zarr_zip)
LONG_AGO = (1_500_000_000, 1_500_000_000)


def mirax(folder: Path, seed: int) -> tuple[Path, Path]:
    """The files of a MIRAX slide by their names; their content is of no format."""
    (folder / "a").mkdir()
    (folder / "a.mrxs").write_bytes(b"a small picture")
    (folder / "a/Slidedat.ini").write_text("[GENERAL]\n")
    (folder / "a/Data0000.dat").write_bytes(bytes([seed]) * 50_000)
    return folder / "a.mrxs", folder / "a/Data0000.dat"


def long_ago(folder: Path) -> None:
    """Let no time of writing tell files apart."""
    for file in folder.rglob("*"):
        os.utime(file, LONG_AGO)


@pytest.mark.integration
@pytest.mark.parametrize("make", [*MAKERS, mirax], ids=lambda make: make.__name__)
def test_a_copy_is_the_same_slide_and_another_is_not(tmp_path: Path, make) -> None:
    for name, seed in (("first", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        make(tmp_path / name, seed)
    path, part = (place.relative_to(tmp_path / "first") for place in make_places(tmp_path / "first", make))
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    for name in ("first", "other", "copy"):
        long_ago(tmp_path / name)
    first, other, copy = (fingerprint(tmp_path / name / path) for name in ("first", "other", "copy"))
    assert first is not None and copy is not None and other is not None
    assert copy == first
    assert other.content != first.content, "of the same sizes and times"
    os.utime(tmp_path / "copy" / part)
    touched = fingerprint(tmp_path / "copy" / path)
    assert touched is not None
    assert touched.content == first.content and touched.time != first.time


def make_places(folder: Path, make) -> tuple[Path, Path]:
    """Where the slide that was made is, and the part of it that may change."""
    shutil.rmtree(folder)
    folder.mkdir()
    return make(folder, 1)


@pytest.mark.integration
@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 5 * SAMPLE))
def test_what_changes_a_file_changes_its_fingerprint(tmp_path_factory, data: st.DataObject, size: int) -> None:
    file = tmp_path_factory.mktemp("files") / "a.svs"
    file.write_bytes(content := data.draw(st.randoms(use_true_random=False)).randbytes(size))
    os.utime(file, LONG_AGO)
    before = fingerprint(file)
    assert before is not None
    place = data.draw(st.integers(0, size - 1))
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    resized = data.draw(st.sampled_from([content + b"\0", content[:-1]]))
    for new, read in ((changed, is_sampled(place, size)), (resized, True), (content, False)):
        file.write_bytes(new)
        now = fingerprint(file)
        assert now is not None and now != before, "it was written since"
        assert (now.content != before.content) == read


def is_sampled(place: int, size: int) -> bool:
    """Whether a byte is in the first, the last, or the middle SAMPLE bytes; of a small file all are."""
    from_middle = place - (size - SAMPLE) // 2
    return size <= 3 * SAMPLE or place < SAMPLE or place >= size - SAMPLE or 0 <= from_middle < SAMPLE


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.svs").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte, sparse
    found = fingerprint(tmp_path / "a.svs")
    assert found is not None and found.content.startswith(f"{1 << 40}-")


@pytest.mark.integration
def test_a_slide_far_away_has_the_content_of_its_copy(tmp_path: Path) -> None:
    path, _ = tiff(tmp_path, 1)
    with range_server(files={"a.tif": path.read_bytes()}) as server:
        near, far = fingerprint(path), fingerprint(RemotePath(server.url("a.tif")))
        assert near is not None and far is not None
        assert far.content == near.content
        server.etag = '"2"'
        later = fingerprint(RemotePath(server.url("a.tif")))
        assert later is not None and later.content == far.content and later.time != far.time
        tiff(tmp_path, 2)
        server.files["a.tif"] = path.read_bytes()
        other = fingerprint(RemotePath(server.url("a.tif")))
        assert other is not None and other.content != far.content
        assert fingerprint(RemotePath(server.url("gone.tif"))) is None


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    (tmp_path / "dangling.svs").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    for name in ("pipe.svs", "dangling.svs", "folder", "gone.svs", "a\0b.svs"):
        assert fingerprint(tmp_path / name) is None
