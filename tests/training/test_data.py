"""Which slides are learnt from, and which are kept to see how well."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ats_cli.records import AtsError
from ats_cli.training import LabelledSlide, labelled_slides, split_off


def folder(root: Path, **counts: int) -> Path:
    """Nothing is opened here: names are enough."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            (root / label / f"{number:02d}.tif").touch()
    return root


def manifest(root: Path, *rows: str, header: str = "slide,label,split") -> Path:
    file = root / "table.csv"
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
    for rows, header, words in [
        (("a.tif", "b.tif"), "slide", "no label"),
        (("a.tif,cat,", "b.tif,cat,"), "slide,label,split", "one class"),
        (("a.tif,cat,train", "b.tif,dog,validation"), "slide,label,split", "'validation'"),
    ]:
        with pytest.raises(AtsError, match=words):
            labelled_slides(None, manifest(tmp_path, *rows, header=header))


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
