"""Which slides are learnt from, and which are kept to see how well."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SPEC, write_slide

from ats_cli.errors import AtsError
from ats_cli.registry import TASKS
from ats_cli.training import LabelledSlide, labelled_slides, split_off
from ats_cli.training.dataset.slide_store import SlideStore, check_slides
from ats_cli.training.dataset.split import folds


def folder(root: Path, **counts: int) -> Path:
    """Nothing is opened here: names are enough."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            (root / label / f"{number:02d}.tif").touch()
    return root


def manifest(root: Path, *rows: str, header: str = "slide,label,split") -> Path:
    """A table, and an empty file for every slide a.tif to f.tif that it may name."""
    file = root / "table.csv"
    (root / "sub").mkdir(exist_ok=True)
    for name in "abcdef":
        (root / f"{name}.tif").touch()
        (root / "sub" / f"{name}.tif").touch()
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def made_up(split: str = "", **counts: int) -> list[LabelledSlide]:
    return [
        LabelledSlide(f"{label}/{i}", Path(f"{label}/{i}.tif"), label, split)
        for label, count in counts.items()
        for i in range(count)
    ]


def test_a_folder_with_a_subfolder_a_class(tmp_path: Path) -> None:
    data = folder(tmp_path, cat=2, dog=1)
    (data / "cat" / "deeper").mkdir()
    (data / "cat" / "deeper" / "00.tif").touch()
    (data / "cat" / "notes.txt").touch()
    (data / "readme.md").touch()
    (data / ".cache").mkdir()
    slides = labelled_slides(data, None, mpp=0.5)
    assert Counter(s.label for s in slides) == {"cat": 3, "dog": 1}
    assert len({s.slide_id for s in slides}) == 4
    assert {s.mpp for s in slides} == {0.5}
    assert all(s.path.is_file() and s.label in s.path.parts for s in slides)


def test_a_manifest(tmp_path: Path) -> None:
    rows = ("a.tif,cat,train,0.5", "sub/b.tif,dog,val,", "c.tif,cat,test,")
    slides = labelled_slides(None, manifest(tmp_path, *rows, header="slide,label,split,mpp"), mpp=2.0)
    assert [(s.slide_id, s.label, s.split, s.mpp) for s in slides] == [
        ("a", "cat", "train", 0.5),
        ("b", "dog", "val", 2.0),
        ("c", "cat", "test", 2.0),
    ]
    assert slides[1].path == tmp_path / "sub" / "b.tif"


def test_what_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", cat=3)
    empty = folder(tmp_path / "empty", cat=3, dog=0)
    flat = folder(tmp_path / "flat", cat=1) / "cat"
    cases = [
        (one, None, "one class"),
        (empty, None, "dog"),
        (flat, None, "no subfolders"),
        (tmp_path / "nowhere", None, "not a folder"),
        (None, None, "either"),
        (one, one, "either"),
        (None, manifest(tmp_path, "a.tif,cat,", "b.tif,,"), r"b\.tif has no label"),
    ]
    for data, table, words in cases:
        with pytest.raises(AtsError, match=words) as caught:
            labelled_slides(data, table)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("slide", ("a.tif", "b.tif"), r"row 2: .*a\.tif has no label"),
        ("slide,label", ("a.tif,cat", "b.tif,"), r"row 3: .*b\.tif has no label"),
        ("slide,label", ("a.tif,cat", "b.tif,cat"), r"all 2 slides are of one class \(cat\)"),
        (
            "slide,label,split",
            ("a.tif,cat,train", "b.tif,dog,tset"),
            "row 3: split 'tset' is none of train",
        ),
        ("slide,label", ("a.tif,cat", "gone.tif,dog"), r"row 3: no such file: .*gone\.tif\. .*--slides-root"),
        ("slide,label,groop", ("a.tif,cat,1", "b.tif,dog,2"), "row 1 .*'groop'. Did you mean 'group'"),
        ("slide,label", ("a.tif,Cat", "b.tif,dog", "c.tif,cat"), "row 4 has label 'cat', but .*row 2 'Cat'"),
        (
            "slide,label,group,split",
            ("a.tif,cat,P1,train", "b.tif,dog,P2,train", "c.tif,cat,P1,test"),
            "row 4: group P1 is in split 'test', but in row 2 in 'train'",
        ),
        ("slide,label,weight", ("a.tif,cat,1", "b.tif,dog,0"), "row 3 has weight '0', which is not above 0"),
        ("case_id,slide_id,patient,label", ("1,a,1,cat", "2,b,2,dog"), "row 1 has the column group twice"),
    ],
)
def test_a_wrong_manifest_is_one_sentence_that_names_the_row(
    tmp_path: Path, header: str, rows: tuple[str, ...], words: str
) -> None:
    with pytest.raises(AtsError, match=words) as caught:
        labelled_slides(None, manifest(tmp_path, *rows, header=header))
    assert len(str(caught.value).splitlines()) == 1 and "table.csv" in str(caught.value)


def test_two_folders_of_one_class(tmp_path: Path) -> None:
    with pytest.raises(AtsError, match=r"folder cat has label 'cat', but .*folder Cat 'Cat'"):
        labelled_slides(folder(tmp_path / "data", Cat=1, cat=1), None)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("case_id,slide_id,label", ("P1,a,cat", "P1,b,cat", "P2,c,dog")),
        ("PATIENT,FILENAME,label", ("P1,a.tif,cat", "P1,b.tif,cat", "P2,c.tif,dog")),
        ("slide,label,group", ("a.tif,cat,P1", "b.tif,cat,P1", "c.tif,dog,P2")),
    ],
    ids=["CLAM", "STAMP", "ours"],
)
def test_tables_of_other_tools_and_slides_elsewhere(tmp_path: Path, header: str, rows: tuple[str, ...]) -> None:
    (tmp_path / "elsewhere").mkdir()
    table = manifest(tmp_path, *rows, header=header).rename(tmp_path / "elsewhere" / "table.csv")
    slides = labelled_slides(None, table, slides_root=tmp_path)
    assert [(s.path, s.label, s.group) for s in slides] == [
        (tmp_path / "a.tif", "cat", "P1"),
        (tmp_path / "b.tif", "cat", "P1"),
        (tmp_path / "c.tif", "dog", "P2"),
    ]


def test_regions_to_draw_from(tmp_path: Path) -> None:
    """Of a slide with a drawn region, only positions within it are drawn; elsewhere all."""
    pixels = np.full((80, 96, 3), 90, np.uint8)
    for name in ("a", "b"):
        write_slide(tmp_path / f"{name}.tif", pixels)
    ring = [[8, 16], [40, 16], [40, 48], [8, 48]]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (tmp_path / "t.csv").write_text("slide,label,roi\na.tif,cat,a.geojson\nb.tif,dog,\n")
    slides = labelled_slides(None, tmp_path / "t.csv")
    with SlideStore(SPEC, 10**9, 1) as store:
        first, second = store.views(slides)
        assert first.allowed[4:12, 2:10].all() and first.allowed.sum() == 64 and second.allowed.all()
    far = [[x + 500, y] for x, y in ring]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [far]}))
    assert "the regions of a.geojson lie at x 508 to 540" in check_slides(SPEC, slides, 1).unreadable["a"]
    (tmp_path / "a.geojson").unlink()
    with pytest.raises(AtsError, match=r"row 2: no such file: .*a\.geojson"):
        labelled_slides(None, tmp_path / "t.csv")


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    table = manifest(tmp_path, "a.tif,cat; dog", "b.tif,", "c.tif,dog", header="slide,label")
    slides = labelled_slides(None, table, task="multi-label")
    assert [TASKS["multi-label"].class_names(s.label) for s in slides] == [["cat", "dog"], [], ["dog"]]
    with pytest.raises(AtsError, match=r"row 2: label 'cat; dog' is not a number"):
        labelled_slides(None, table, task="regression")
    table = manifest(tmp_path, "a.tif,cat;NA", "b.tif,dog", header="slide,label")
    with pytest.raises(AtsError, match=r"row 2: label 'cat;NA' has a missing part"):
        labelled_slides(None, table, task="multi-label")
    assert labelled_slides(None, table, task="multi-label", na="none")[0].label == "cat;NA"
    table = manifest(tmp_path, "a.tif,-1.5\u200b", "b.tif,2e3", header="slide,label")
    assert [float(s.label) for s in labelled_slides(None, table, task="regression")] == [-1.5, 2000]


def grouped(patients: int, seed: int) -> list[LabelledSlide]:
    """One to four slides a patient; every third patient has the rare class."""
    rng = random.Random(seed)
    return [
        LabelledSlide(f"{p}-{i}", Path(f"{p}-{i}.tif"), "rare" if p % 3 == 0 else "common", group=f"P{p}")
        for p in range(patients)
        for i in range(rng.randint(1, 4))
    ]


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.integers(12, 40), st.integers(2, 4), st.floats(0.05, 0.6), st.integers(0, 1000))
def test_no_patient_is_on_both_sides(patients: int, count: int, fraction: float, seed: int) -> None:
    slides = grouped(patients, seed)
    pairs = folds(slides, count, seed)
    for train, held in [split_off(slides, fraction, seed), *pairs]:
        assert not {s.group for s in train} & {s.group for s in held}
        assert sorted(s.slide_id for s in train + held) == sorted(s.slide_id for s in slides)
        assert {s.label for s in held} == {s.label for s in train} == {"rare", "common"}
    assert sorted(s.slide_id for _, held in pairs for s in held) == sorted(s.slide_id for s in slides)
    for label in ("rare", "common"):
        counts = [len({s.group for s in held if s.label == label}) for _, held in pairs]
        assert max(counts) - min(counts) <= 1, "every fold has its share of each class"
    sizes = [len({s.group for s in held}) for _, held in pairs]
    assert max(sizes) - min(sizes) <= 1


def test_folds_that_cannot_be() -> None:
    with pytest.raises(AtsError, match=r"--folds 5: class owl has 3 slides or groups"):
        folds(made_up(cat=9, owl=3), 5, seed=0)
    one_patient = [LabelledSlide(str(i), Path(f"{i}.tif"), "cat", group="P1") for i in range(9)]
    with pytest.raises(AtsError, match=r"class cat has 1 group\(s\)"):
        split_off(one_patient + made_up(dog=5), 0.2, seed=0)
    assert not {s.split for _, held in folds(made_up(cat=9) + made_up("test", cat=9), 3, seed=0) for s in held} - {""}


def test_some_of_each_class_are_kept_for_validation() -> None:
    slides = made_up(cat=50, dog=10, owl=2)
    train, held = split_off(slides, 0.2, seed=0)
    assert Counter(s.label for s in held) == {"cat": 10, "dog": 2, "owl": 1}
    assert {s.slide_id for s in train} | {s.slide_id for s in held} == {s.slide_id for s in slides}
    assert len(train) + len(held) == len(slides)
    assert split_off(slides, 0.2, seed=0) == (train, held)
    assert split_off(slides, 0.2, seed=1)[1] != held
    assert split_off(slides, 0, seed=0) == (slides, [])


def test_too_few_to_keep_any() -> None:
    with pytest.raises(AtsError, match=r"class owl has 1 slide.*--val 0"):
        split_off(made_up(cat=5, owl=1), 0.2, seed=0)
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(AtsError, match="fraction"):
            split_off(made_up(cat=5, owl=5), fraction, seed=0)


def test_a_manifest_s_own_split_is_kept_and_its_test_slides_are_left_out() -> None:
    train, held, test = made_up("train", cat=3, dog=3), made_up("val", cat=1, dog=1), made_up("test", cat=9, dog=9)
    assert split_off(train + held + test, 0.5, seed=0) == (train, held)
    assert split_off(test + train, 0, seed=0) == (train, [])
    ours, kept = split_off(train + test, 0.34, seed=0)
    assert Counter(s.label for s in kept) == {"cat": 1, "dog": 1}
    assert not {s.split for s in ours + kept} & {"test", "val"}


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_with_nothing_to_train_on_is_told_before_training(split: str) -> None:
    for slides in (
        made_up("train", cat=3, dog=3) + made_up(split, owl=2),
        made_up(split, cat=3, owl=3),
    ):
        with pytest.raises(AtsError, match=r"has no slide to train on"):
            split_off(slides, 0.2, seed=0)
