"""Slides of several files that OpenSlide reads, by links: staged as workflows do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.formats.companions import slide_files, with_companions

FAULTS = Path(__file__).parents[1] / "data" / "faults" / "multi-file-slide-by-a-link"
NAMES = st.text("abcXYZ019 ._-", min_size=1, max_size=10).filter(lambda name: name.strip(". ") == name)


@pytest.mark.integration
@settings(max_examples=20, deadline=None)
@given(slide=st.sampled_from(["holes", "slide one"]), names=st.lists(NAMES, max_size=3), relative=st.booleans())
def test_a_mirax_slide_by_any_links(
    tmp_path_factory: pytest.TempPathFactory, slide: str, names: list[str], relative: bool
) -> None:
    folder = tmp_path_factory.mktemp("m")
    first = path = FAULTS / "mrxs" / f"{slide}.mrxs"
    for number, name in enumerate(names):
        link = folder / str(number) / f"{name}.mrxs"
        link.parent.mkdir()
        link.symlink_to(os.path.relpath(path, link.parent) if relative else path)
        path = link
    with open_slide(first) as right, open_slide(path) as staged:
        assert (staged.vendor, staged.width, staged.height) == ("mirax", right.width, right.height)
        assert np.array_equal(staged.read_view(4), right.read_view(4))
        parts = [first, *(FAULTS / "mrxs" / slide).iterdir()]
        assert staged.bytes_total == right.bytes_total == sum(part.stat().st_size for part in parts)


@pytest.mark.parametrize("content", [None, "a picture"])
def test_a_mirax_slide_without_its_folder_is_no_picture(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "holes.mrxs"
    shutil.copy(FAULTS / "mrxs" / "holes.mrxs", path)
    if content:  # what scanners write: a JPEG of the whole slide
        Image.fromarray(picture(60, 80)).save(path, "JPEG")
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "x.mrxs").symlink_to(path)
    for backend in (None, "openslide"):
        with pytest.raises(SlideError, match=r"^holes\.mrxs: its folder holes is not beside it\."):
            open_slide(path, backend=backend)
        with pytest.raises(SlideError, match=r"^x\.mrxs: its folder holes is not beside it\."):
            open_slide(tmp_path / "stage" / "x.mrxs", backend=backend)
    shutil.copytree(FAULTS / "mrxs" / "holes", tmp_path / "holes")
    path.rename(tmp_path / "holes.MRXS")
    with pytest.raises(SlideError, match=r"^holes\.MRXS: is read with its ending in small letters only"):
        open_slide(tmp_path / "holes.MRXS")


def test_a_dicom_by_a_link_through_openslide(tmp_path: Path) -> None:
    (tmp_path / "C.dcm").symlink_to(FAULTS / "dicom" / "C.dcm")
    with open_slide(tmp_path / "C.dcm", backend="openslide") as slide:
        assert (slide.width, slide.height) == (1024, 1024)
        assert slide.bytes_total == sum(file.stat().st_size for file in (FAULTS / "dicom").iterdir())


@pytest.mark.parametrize("kind", [".vms", ".vmu"])
def test_pictures_of_hamamatsu_lie_beside_what_a_link_leads_to(tmp_path: Path, kind: str) -> None:
    (tmp_path / "stage").mkdir()
    names = [f"a{kind}", "a.jpg", "a(1,0).jpg", "a_map2.jpg", "a.opt"]
    for number, name in enumerate([*names, "ab.jpg"]):
        (tmp_path / name).write_bytes(b"x" * (number + 1))
    (tmp_path / "stage" / f"b{kind}").symlink_to(tmp_path / f"a{kind}")
    file = with_companions(tmp_path / "stage" / f"b{kind}")
    assert sorted(part.name for part in slide_files(file)) == sorted(names)
