"""Which rows of a table are evaluated, however its splits are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.app import run
from ats_cli.errors import AtsError
from ats_cli.inference.evaluate import labelled_sources
from ats_cli.slides.inputs.splits import split_of
from ats_cli.training.dataset.labelled import labelled_slides
from tests.small import copy_slide

CLASSES = ("bright", "dark")
SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing", "holdout", "hold-out"),
}
FAULT = Path(__file__).parents[1] / "data/faults/evaluate-split-in-another-case/split.csv"
DIGITS = Path(__file__).parents[2] / "examples/digits.tif"

Written = Callable[[str], str]


@st.composite
def splits(draw: st.DrawFn) -> tuple[str, str]:
    """A split, and how a table may write it."""
    split = draw(st.sampled_from(sorted(SPELLINGS)))
    word = draw(st.sampled_from(SPELLINGS[split]))
    upper = draw(st.lists(st.booleans(), min_size=len(word), max_size=len(word)))
    cell = "".join(c.upper() if up else c for c, up in zip(word, upper, strict=True))
    return split, draw(st.sampled_from(("", " "))) + cell + draw(st.sampled_from(("", " ", "\t")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for i in range(12):
        (folder / f"{i}.tif").touch()
    return folder


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.lists(splits(), min_size=2, max_size=12), st.sampled_from([None, *SPELLINGS]))
def test_evaluate_and_train_read_a_split_alike(folder: Path, drawn: list[tuple[str, str]], asked: str | None) -> None:
    manifest = folder / "table.csv"
    lines = [f"{i}.tif,{CLASSES[i % 2]},{cell}" for i, (_, cell) in enumerate(drawn)]
    manifest.write_text("\n".join(["slide,label,split", *lines]) + "\n")
    assert [slide.split for slide in labelled_slides(None, manifest)] == [split for split, _ in drawn]

    present = {split for split, _ in drawn}
    wanted = asked or ("test" if "test" in present else None)
    right = [str(i) for i, (split, _) in enumerate(drawn) if wanted in (None, split)]
    if not right:
        with pytest.raises(AtsError, match="no row of split"):
            labelled_sources(None, manifest, None, CLASSES, asked)
        return
    spelling = None if asked is None else SPELLINGS[asked][-1].title()
    labelled, rows = labelled_sources(None, manifest, None, CLASSES, spelling)
    assert [one.source.slide_id for one in labelled] == right
    counts = rows.as_dict()
    assert (counts["taken"], counts["left"]) == (len(right), len(drawn) - len(right))
    of_all = {split: sum(split == own for own, _ in drawn) for split in present}
    assert counts["taken_by_split"] | counts["left_by_split"] == of_all
    assert ("trained on" in str(rows)) == ("train" in counts["taken_by_split"])


@settings(max_examples=40, deadline=None)
@given(st.text("abctesrinvl", min_size=1, max_size=8), st.integers(0, 3))
def test_a_word_that_is_no_split_is_said_with_its_row(folder: Path, word: str, place: int) -> None:
    cells = ["train", "Test", "VALID", "test"]
    cells[place] = word
    manifest = folder / "strange.csv"
    lines = [f"{i}.tif,{CLASSES[i % 2]},{cell}" for i, cell in enumerate(cells)]
    manifest.write_text("\n".join(["slide,label,split", *lines]) + "\n")
    if word in ("na", "nan") or split_of(word) in SPELLINGS:  # a missing value, or a split by a synonym
        return
    for asked in (None, "test"):
        with pytest.raises(AtsError, match=rf"row {place + 2}: split '{word}' is none of train, val, test"):
            labelled_sources(None, manifest, None, CLASSES, asked)
    # A table may have names of its own, where the call names one of them.
    labelled, _ = labelled_sources(None, manifest, None, CLASSES, word)
    assert [one.source.slide_id for one in labelled] == [str(place)]


@pytest.mark.integration
def test_the_call_says_which_rows_it_took(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "split.csv").write_bytes(FAULT.read_bytes())
    for i in (1, 2, 3):
        copy_slide(DIGITS, tmp_path / f"{i}.tif")
    call = ["evaluate", "--manifest", str(tmp_path / "split.csv"), "-m", "megapixel-digits", "--tiles", "3"]
    assert run([*call, "-o", str(tmp_path / "out")]) == 0
    assert "split.csv: 2 of 3 rows are taken (2 test), 1 left out (1 train)." in capfd.readouterr().err
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["slides"] == 2
    assert metrics["rows"] == {"taken": 2, "left": 1, "taken_by_split": {"test": 2}, "left_by_split": {"train": 1}}
