"""A DICOM series is one slide whatever its files are called, by a link or not, and its headers are read once a run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_pictures import picture
from test_dicom import level, pyramid, write

from ats_cli.slides import find_slides, open_slide
from ats_cli.slides.inputs.manifest import read_manifest

FAULTS = Path(__file__).parents[1] / "data" / "faults"
SHAPES = [(1024, 1024), (512, 512), (256, 256)]


def shapes(path: Path) -> list[tuple[int, int]]:
    with open_slide(path) as slide:
        assert slide.mpp == 0.5 and slide.bytes_total is not None
        return [(lv.width, lv.height) for lv in slide.levels]


@pytest.mark.parametrize("folder", ["dicom-without-dcm-extension/noext", "dicom-without-dcm-extension/dicomext"])
def test_files_without_extension_are_a_slide_in_a_call_and_in_a_manifest(folder: str, tmp_path: Path) -> None:
    path = FAULTS / folder
    for file in (path, *path.iterdir()):
        assert shapes(file) == SHAPES
    assert [source.path for source in find_slides([str(path)])] == [path]
    assert [source.path for source in find_slides([str(path.parent)])] == sorted(path.parent.glob("*ext"))
    (tmp_path / "m.csv").write_text(f"path\n{path}\n")
    (row,) = read_manifest(tmp_path / "m.csv").rows
    assert shapes(row.path) == SHAPES  # type: ignore[arg-type]


NAMES = st.text("abcXYZ019._- ", min_size=1, max_size=12).filter(lambda name: name.strip(". ") == name)


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(names=st.lists(NAMES, min_size=3, max_size=3, unique_by=str.lower), hops=st.integers(0, 3), data=st.data())
def test_any_file_of_any_name_by_any_links_is_the_whole_series(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], hops: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("s")
    whole, half = pyramid(folder / "series")
    for old, new in zip("abc", names, strict=True):
        (folder / "series" / f"{old}.dcm").rename(folder / "series" / f" {new}")
    for new in names:
        (folder / "series" / f" {new}").rename(folder / "series" / new)
    (folder / "series" / "notes.txt").write_text("no DICOM")
    (folder / "series" / "gone").symlink_to("nowhere")
    path = folder / "series" / data.draw(st.sampled_from(names))
    for hop in range(hops):
        link = folder / f"hop {hop}" / data.draw(NAMES)
        link.parent.mkdir()
        link.symlink_to(os.path.relpath(path, link.parent) if data.draw(st.booleans()) else path)
        path = link
    slide = open_slide(path)
    assert np.array_equal(level(slide), whole) and np.array_equal(level(slide, 1), half)
    assert slide.bytes_total == sum((folder / "series" / name).stat().st_size for name in names)


def test_a_folder_of_links_is_the_series_that_they_lead_to(tmp_path: Path) -> None:
    source = FAULTS / "multi-file-slide-by-a-link" / "dicom"
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "C.dcm").symlink_to(source / "C.dcm")
    assert shapes(tmp_path / "one") == shapes(tmp_path / "one" / "C.dcm") == SHAPES
    # A store that keeps each file in a folder of its own, as git-annex does.
    (tmp_path / "annexed").mkdir()
    for file in source.iterdir():
        (tmp_path / "store" / file.stem).mkdir(parents=True)
        shutil.copy(file, tmp_path / "store" / file.stem)
        (tmp_path / "annexed" / file.name).symlink_to(f"../store/{file.stem}/{file.name}")
    (tmp_path / "staged.dcm").symlink_to("annexed/C.dcm")
    assert shapes(tmp_path / "annexed") == shapes(tmp_path / "staged.dcm") == SHAPES
    # The same file by two names is no second image of its size.
    shutil.copytree(source, tmp_path / "twice")
    (tmp_path / "twice" / "again.dcm").symlink_to("A.dcm")
    assert shapes(tmp_path / "twice") == SHAPES


@pytest.mark.integration
def test_headers_are_read_once_however_many_slides_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    dcmread: Any = pydicom.dcmread

    def counted(stream: Any, **options: Any) -> Any:
        read.append("a header")
        return dcmread(stream, **options)

    def headers(many: int) -> int:
        folder = tmp_path / str(many)
        folder.mkdir()
        for number in range(many):
            series = {"SeriesInstanceUID": f"1.2.{number + 1}"}
            write(folder / f"{number:03}a.dcm", picture(60, 90, number), **series)
            write(folder / f"{number:03}b.dcm", picture(30, 45, number), **series)
        monkeypatch.setattr(pydicom, "dcmread", counted)
        read.clear()
        found = find_slides([str(folder)])
        assert len(found) == many
        for number, source in enumerate(found):
            assert np.array_equal(level(open_slide(source.path)), picture(60, 90, number))
        monkeypatch.undo()
        return len(read)

    assert headers(5) == 5 * 4 and headers(20) == 20 * 4, "two files a series: each for its series, and to be opened"


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    whole, _ = pyramid(tmp_path / "s")
    assert np.array_equal(level(open_slide(tmp_path / "s" / "a.dcm")), whole)
    write(tmp_path / "s" / "b.dcm", picture(200, 301, 5), SeriesInstanceUID="1.2.4")
    assert len(open_slide(tmp_path / "s" / "a.dcm").levels) == 1
    write(tmp_path / "s" / "b.dcm", picture(200, 301, 6))
    assert np.array_equal(level(open_slide(tmp_path / "s" / "a.dcm")), picture(200, 301, 6))
