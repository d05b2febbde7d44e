"""A folder of classes is understood as it was meant, or refused with a sentence; never a third thing."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import AtsError, SlideError
from ats_cli.inference.evaluate import labelled_sources
from ats_cli.slides.inputs.class_folders import class_folders
from ats_cli.training import labelled_slides

WORDS = {
    "train": ("train", "Training", "TRAIN", "train_set", "training data"),
    "val": ("val", "Valid", "validation", "dev", "VAL-SET"),
    "test": ("test", "Testing", "TEST", "test set", "testdata", "holdout", "Hold-Out"),
}
CLASSES = ("a", "b", "Tumour", "tester", "trained", "10")
LAYOUTS = ("classes", "parts above", "parts below")
CLUTTER = ("notes", "hidden file", "hidden folder", "thumbnails", "loose slide", "nothing")
# What a folder may be meant to be, and cannot be known to be.
UNCERTAIN = (
    "part beside a class", "folds", "class folders missing", "part below a patient", "part in one class only",
    "zarr as a class", "DICOM as a class", "fold below a class", "a slide beside the parts below",
)  # fmt: skip

Meaning = list[tuple[str, str, str]]  # (name of the file, class, part of the split or "")


@st.composite
def meanings(draw: st.DrawFn) -> tuple[str, Meaning]:
    """A layout, and one to three slides of each class in each part."""
    layout = draw(st.sampled_from(LAYOUTS))
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=3, unique=True))
    parts = [""] if layout == "classes" else draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, unique=True))
    counts = draw(st.lists(st.integers(1, 3), min_size=len(classes) * len(parts), max_size=len(classes) * len(parts)))
    slides: Meaning = []
    for (label, part), count in zip(((label, part) for label in classes for part in parts), counts, strict=True):
        slides += [(f"s{len(slides) + i}.tif", label, part) for i in range(count)]
    return layout, slides


def write(top: Path, layout: str, slides: Meaning, draw: st.DataObject) -> None:
    spelled = {part: draw.draw(st.sampled_from(words), label=part) for part, words in WORDS.items()}
    for name, label, part in slides:
        folders = [label] if layout == "classes" else [spelled[part], label]
        folders = folders[::-1] if layout == "parts below" else folders
        folder = top.joinpath(*folders, *draw.draw(st.sampled_from([[], ["patient 7"], ["p", "deep"]]), label=name))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def clutter(folder: Path, kind: str) -> int:
    """Add what is no slide of a class; return how many slides are to be left out."""
    if kind == "notes":
        (folder / "readme.md").touch()
    if kind == "hidden file":
        (folder / "._s0.tif").touch()
    if kind == "hidden folder":
        (folder / ".cache").mkdir()
        (folder / ".cache" / "x.tif").touch()
    if kind == "thumbnails":
        (folder / "@eaDir").mkdir()
        (folder / "@eaDir" / "x.tif").touch()
    if kind == "loose slide":
        (folder / "overview.png").touch()
    return int(kind == "loose slide")


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(meanings(), st.sampled_from(CLUTTER), st.data())
def test_a_layout_means_what_it_was_made_of(drawn: tuple[str, Meaning], kind: str, draw: st.DataObject) -> None:
    layout, slides = drawn
    with tempfile.TemporaryDirectory() as place:
        top = Path(place, "data")
        write(top, layout, slides, draw)
        loose = clutter(top, kind)
        found = class_folders(top)
        assert Counter((s.path.name, s.label, s.split) for s in found.slides) == Counter(slides)
        assert len({s.slide_id for s in found.slides}) == len(slides)
        assert len(found.left_out) == loose
        notes = " ".join(found.notes)
        assert ("parts of a split" in notes) == (layout != "classes") and ("left out" in notes) == bool(loose)
        # Training and evaluation read it alike.
        assert Counter((s.path.name, s.label, s.split) for s in labelled_slides(top, None)) == Counter(slides)
        classes = sorted({label for _, label, _ in slides})
        taken, rows = labelled_sources(top, None, None, classes)
        of_test = [name for name, _, part in slides if part == "test"]
        right = of_test or [name for name, _, _ in slides]
        assert Counter(one.source.path.name for one in taken) == Counter(right)
        assert len(rows.left) == len(slides) - len(right)
        asked, _ = (
            labelled_sources(top, None, None, classes, "TRAIN")
            if layout != "classes" and any(part == "train" for _, _, part in slides)
            else ([], None)
        )
        assert {one.source.path.name for one in asked} <= {name for name, _, part in slides if part == "train"}


@pytest.mark.integration
@settings(max_examples=40, deadline=None)
@given(meanings(), st.sampled_from(UNCERTAIN), st.data())
def test_what_is_not_certain_is_refused(drawn: tuple[str, Meaning], kind: str, draw: st.DataObject) -> None:
    _, slides = drawn
    with tempfile.TemporaryDirectory() as place:
        top = Path(place, "data")
        write(top, "classes", [(name, label, "") for name, label, _ in slides], draw)
        first = top / slides[0][1]
        word = draw.draw(st.sampled_from([word for words in WORDS.values() for word in words]))
        if kind == "part beside a class":
            (top / word).mkdir()
            (top / word / "x.tif").touch()
        elif kind in ("folds", "fold below a class"):
            folder = (top if kind == "folds" else first) / draw.draw(st.sampled_from(["fold1", "Fold_2", "cv-3"]))
            folder.mkdir()
            (folder / "x.tif").touch()
        elif kind == "class folders missing":
            top = Path(place, "flat")
            for part in ("train", word):
                (top / part).mkdir(parents=True, exist_ok=True)
                (top / part / "x.tif").touch()
        elif kind == "part below a patient":
            (first / "patient" / word).mkdir(parents=True)
            (first / "patient" / word / "x.tif").touch()
        elif kind in ("part in one class only", "a slide beside the parts below"):
            for own in {top / label for _, label, _ in slides if kind != "part in one class only"} | {first}:
                (own / word).mkdir()
                (own / word / "x.tif").touch()
            (first / "y.tif").touch()
        elif kind == "zarr as a class":
            (top / "slide.zarr").mkdir()
        elif kind == "DICOM as a class":
            (top / "series").mkdir()
            (top / "series" / "1.dcm").touch()
        for read in (lambda: labelled_slides(top, None), lambda: labelled_sources(top, None, None, CLASSES)):
            with pytest.raises(AtsError) as raised:
                read()
            assert str(top) in str(raised.value) and len(str(raised.value).splitlines()) == 1
            assert "--manifest" in str(raised.value) or "no slide in" in str(raised.value)


def test_a_part_without_the_slides_of_a_class_is_refused(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            (tmp_path / part / label / "x.tif").touch()
    (tmp_path / "val" / "b" / "x.tif").unlink()
    with pytest.raises(SlideError, match="no slide in this folder"):
        class_folders(tmp_path)


def test_companions_and_folders_of_ats_are_no_classes(tmp_path: Path) -> None:
    """The folder of a MIRAX slide, a run and a model that lie beside the class folders."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.tif").touch()
    (tmp_path / "m.mrxs").touch()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thumb.jpg").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"schema_version": 1, "settings": {}, "model": {}, "slides": []}')
    (tmp_path / "model" / "views.zarr").mkdir(parents=True)
    (tmp_path / "model" / "training.json").write_text('{"started": "", "settings": {}, "environment": {}}')
    found = class_folders(tmp_path)
    assert [(s.slide_id, s.label) for s in found.slides] == [("a/x", "a"), ("b/x", "b")]
    assert [path.name for path in found.left_out] == ["m.mrxs"]


def test_a_slide_that_is_a_folder_is_no_folder_of_classes(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(SlideError, match="one slide, not a folder"):
        class_folders(tmp_path / "x.zarr")


def test_folders_that_each_hold_the_same_folders_are_said(tmp_path: Path) -> None:
    """Two hospitals with the same two classes, or two classes of the same two patients: it cannot be known."""
    for site in ("north", "south"):
        for label in ("a", "b"):
            (tmp_path / site / label).mkdir(parents=True)
            (tmp_path / site / label / "x.tif").touch()
    (note,) = class_folders(tmp_path).notes
    assert "north, south are taken for the classes" in note and "a, b" in note


def test_a_class_called_like_a_missing_value_is_said(tmp_path: Path) -> None:
    for label in ("a", "b", "NA"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.tif").touch()
    (note,) = class_folders(tmp_path).notes
    assert "folder NA is taken for a class" in note


def test_a_holdout_beside_classes_is_no_class(tmp_path: Path) -> None:
    for label in ("a", "b", "holdout"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.tif").touch()
    with pytest.raises(SlideError, match="holdout is a part of a split by its name, but a beside it is none"):
        class_folders(tmp_path)


def test_a_folder_around_the_classes_is_named(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "x.tif").touch()
    with pytest.raises(AtsError, match=r"one class \(images\).* \(a, b\) are the classes, give .*images\.$"):
        labelled_slides(tmp_path, None)
    assert len(labelled_slides(tmp_path / "images", None)) == 2


def test_a_class_folder_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path / "data" / "a", tmp_path / "elsewhere"):
        (folder / f"{folder.name}.tif").touch()
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere")
    assert [(s.slide_id, s.label) for s in class_folders(tmp_path / "data").slides] == [
        ("a/a", "a"), ("b/elsewhere", "b"),
    ]  # fmt: skip
