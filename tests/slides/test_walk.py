"""Folders as they are on shares and scratch disks: links, pipes, thumbnails of the system, what ats wrote itself."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ats_cli.errors import SlideError
from ats_cli.records import AttentionMap
from ats_cli.results.pictures.heatmap import HeatmapOptions, write_heatmap
from ats_cli.results.pictures.slide_frame import SlideFrame
from ats_cli.slides import find_slides, open_slide
from ats_cli.slides.inputs.folder_walk import FolderWalk
from tests.small import write_slide

KINDS = (
    "slide", "second name", "dangling slide", "dangling folder", "dangling note", "circle", "pipe", "note", "folder",
    "link above", "link to a folder", "@eaDir", "run folder", "heatmap", "hidden slide", "hidden folder",
)  # fmt: skip


@pytest.fixture(scope="module")
def heatmap(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("heatmap") / "a.png"
    attention = AttentionMap(np.full((4, 5), 1 / 20), 16.0, 20)
    write_heatmap(file, SlideFrame((80, 64)), attention, HeatmapOptions(max_size=64))
    return file.read_bytes()


def build(folder: Path, kinds: list[str], heatmap: bytes, elsewhere: Path) -> tuple[set[str], Counter[str]]:
    """Make an entry of each kind; return the names that are slides, and how many of what are not."""
    slides: set[str] = set()
    passed: Counter[str] = Counter()
    for number, kind in enumerate(kinds):
        name, files = f"e{number}", folder / f"e{number}.svs"
        below = folder / name
        if kind == "slide":
            files.write_bytes(files.name.encode())
            slides.add(files.name)
        elif kind == "second name":
            files.symlink_to(elsewhere / "one.svs")
            slides.add(files.name)
        elif kind == "dangling slide":
            files.symlink_to("/nowhere/x.svs")
            slides.add(files.name)
        elif kind == "dangling folder":
            below.symlink_to("/nowhere/batch")
            slides.add(name)
        elif kind == "dangling note":
            (folder / f"{name}.txt").symlink_to("/nowhere/notes.txt")
        elif kind == "circle":
            files.symlink_to(files)
            slides.add(files.name)
        elif kind == "pipe":
            os.mkfifo(files)
            slides.add(files.name)
        elif kind == "note":
            (folder / f"{name}.txt").touch()
        elif kind == "folder":
            below.mkdir()
            (below / f"{name}in.tif").touch()
            slides.add(f"{name}in.tif")
        elif kind == "link above":
            below.symlink_to(folder)
        elif kind == "link to a folder":
            below.symlink_to(elsewhere)
        elif kind == "@eaDir" and not (folder / kind).exists():
            (folder / kind / "x.svs").mkdir(parents=True)
            (folder / kind / "x.svs" / "SYNOFILE_THUMB_M.jpg").touch()
            passed["folder{} of the system"] += 1
        elif kind == "run folder":
            (below / "slides" / "x").mkdir(parents=True)
            (below / "slides" / "x" / "thumbnail.png").touch()
            run = {"schema_version": 1, "settings": {}, "model": {}, "slides": []}
            (below / "run.json").write_text(json.dumps(run))
            passed["run folder{} of ats"] += 1
        elif kind == "heatmap":
            (folder / f"{name}.png").write_bytes(heatmap)
            passed["picture{} of ats"] += 1
        elif kind == "hidden slide":
            (folder / f"._{name}.svs").touch()
            passed["hidden file{}"] += 1
        elif kind == "hidden folder":
            (folder / f".{name}").mkdir()
            (folder / f".{name}" / "x.svs").touch()
    if "link to a folder" in kinds:  # searched once, however many links lead there
        slides.add("one.svs")
    return slides, passed


@pytest.mark.integration
@settings(deadline=None, max_examples=60)
@given(kinds=st.lists(st.sampled_from(KINDS), max_size=12))
def test_a_row_for_each_name_and_nothing_ends_the_search(kinds: list[str], heatmap: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        root, elsewhere = Path(place, "root"), Path(place, "elsewhere")
        root.mkdir()
        elsewhere.mkdir()
        (elsewhere / "one.svs").write_bytes(b"x")
        slides, passed = build(root, kinds, heatmap, elsewhere)
        with notes() as said:
            if not slides:
                with pytest.raises(SlideError, match="no slide in this folder"):
                    find_slides([str(root)])
                return
            found = find_slides([str(root)])
        assert Counter(source.path.name for source in found) == Counter(slides)
        assert len({source.slide_id for source in found}) == len(found)
        about_passed = [note for note in said if "passed over" in note]
        assert len(about_passed) == bool(passed)
        for what, count in passed.items():
            assert f"{count} {what.format('s' * (count > 1))}" in about_passed[0]
        names = kinds.count("second name") + ("link to a folder" in kinds)
        assert sum("another name" in note for note in said) == (names > 1)
        for source in found:  # each fails by itself, in a sentence with its name
            with pytest.raises(SlideError, match=f"^{source.path.name}: .*\\.$"):
                open_slide(source.path)


@contextmanager
def notes() -> Iterator[list[str]]:
    """What is logged within the block."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, logger = Handler(), logging.getLogger("ats_cli")
    level = logger.level  # which a command with --quiet may have raised
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_link_that_leads_nowhere_says_where(tmp_path: Path) -> None:
    (tmp_path / "x.svs").symlink_to("/nowhere/y.svs")
    with pytest.raises(SlideError, match=r"x\.svs: a link to /nowhere/y\.svs, which is not there\."):
        find_slides([str(tmp_path / "x.svs")])  # named itself: the call is wrong
    (source,) = find_slides([str(tmp_path / "*.svs")])
    with pytest.raises(SlideError, match=r"x\.svs: a link to /nowhere/y\.svs, which is not there\."):
        open_slide(source.path)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user of the machine may search."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)
        for folder in Path(place).iterdir():
            folder.chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
def test_a_folder_without_access_is_one_failed_slide(open_folder: Path, mode: int) -> None:
    for name in ("closed", "open"):
        (open_folder / name).mkdir()
        Image.new("RGB", (9, 9)).save(open_folder / name / "x.png")
    (open_folder / "closed").chmod(mode)
    with as_somebody():
        closed, good = find_slides([str(open_folder)])
        with pytest.raises(SlideError, match=f"^{closed.path.name}: no permission to"):
            open_slide(closed.path)
        open_slide(good.path).close()
        if mode != 0o400:  # its names can be listed
            with pytest.raises(SlideError, match="access rights"):
                find_slides([str(open_folder / "closed")])


@contextmanager
def as_somebody() -> Iterator[None]:
    """Without the rights of root, where the tests have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_two_names_of_a_file_are_two_slides_with_draws_of_their_own(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.png").symlink_to("../b.png")
    with notes() as said:
        found = find_slides([str(tmp_path), str(tmp_path / "b.png"), str(tmp_path / "sub" / ".." / "a.png")])
    assert [source.slide_id for source in found] == ["a", "b", "hard", "c"]
    assert said == [
        "3 slides are another name of a file that is here already: b (as a), hard (as a), c (as a). "
        "Each has its own draw."
    ]
    identities = set()
    for source in found:
        with open_slide(source.path) as slide:
            identities.add(slide.identity)
    assert len(identities) == 4


def test_what_is_named_itself_is_taken(tmp_path: Path, heatmap: bytes) -> None:
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "thumb.jpg").touch()
    (tmp_path / "map.png").write_bytes(heatmap)
    (tmp_path / "x.svs").touch()
    assert [s.slide_id for s in find_slides([str(tmp_path / "map.png"), str(tmp_path / "@eaDir")])] == ["map", "thumb"]
    assert [s.slide_id for s in find_slides([str(tmp_path / "**")])] == ["x"]


def test_masks_and_thumbnails_beside_slides_are_no_slides_and_no_class(tmp_path: Path) -> None:
    """Named itself, such a folder is searched."""
    for name in ("tumour/a.tif", "tumour/Masks/a_mask.tif", "normal/b.tif", "thumbnails/a.tif"):
        write_slide(tmp_path / name, np.full((20, 20, 3), 90, np.uint8))
    walk = FolderWalk()
    found = [path.relative_to(tmp_path).as_posix() for path in walk.slides(tmp_path)]
    assert found == ["normal/b.tif", "tumour/a.tif"]
    assert walk.passed == {"folder{} of masks or thumbnails": 2}
    assert [folder.name for folder in FolderWalk().folders(tmp_path)[0]] == ["normal", "tumour"]
    assert len(list(FolderWalk().slides(tmp_path / "thumbnails"))) == 1
