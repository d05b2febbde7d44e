"""A plain meaning written as a table in a random dialect: each command understands it, or refuses it with the row."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ats_cli.app import run
from ats_cli.commands.common.sources import gather
from ats_cli.errors import AtsError
from ats_cli.inference.evaluate import labelled_sources
from ats_cli.registry import TASKS
from ats_cli.training import labelled_slides
from tests.small import SPEC, write_model

FILES = ("a.png", "D.PNG", "E.ome.tif", "Größe 1.png", "sub/f.png", "x;y.png", "p,q.png", "tab\tc.png", "it's.png")
CLASSES = (("tumour", "normal"), ("Größe", "klein"), ("high grade", "low grade", "none"), ("0", "1", "2"))
GROUPS = ("P1", "P2", "Müller A", "7", "8", "1E5")
SPLITS = {"train": ("train", "Training", "TRAIN"), "val": ("val", "Valid", "validation"), "test": ("test", "TESTING")}
MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "nan", "NaN", "NULL", "null")
NAMES = {
    "slide": ("slide", "path", "Slide", " slide_id", "FILENAME"), "label": ("label", "LABEL "), "mpp": ("mpp", "MPP"),
    "split": ("split", "Split"), "group": ("group", "case_id", "PATIENT", "patient_id"), "weight": ("weight",),
}  # fmt: skip
EXTRAS = ("age", "notes, free", "stain;batch", "height\n(cm)", "Unnamed: 0", "", "side")


Spoil = Callable[[st.DrawFn, list[dict[str, str]]], None]


@dataclass(frozen=True)
class Meaning:
    """What a row of a table says; None for what is not known."""

    slide: str
    label: str | None
    group: str | None
    split: str | None
    mpp: float | None
    weight: float | None


@dataclass(frozen=True)
class Written:
    """A table and what it means. numbers: of each row in the file. classes: those of a model."""

    meaning: list[Meaning]
    numbers: list[int]
    content: bytes
    classes: tuple[str, ...]
    has_groups: bool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "sub").mkdir()
    rng = np.random.default_rng(0)
    for name in FILES:
        pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, "TIFF" if name.endswith("tif") else "PNG")
    return folder


@st.composite
def meanings(draw: st.DrawFn, classes: tuple[str, ...]) -> list[Meaning]:
    files = draw(st.lists(st.sampled_from(FILES), min_size=4, max_size=len(FILES), unique=True))
    with_splits = draw(st.booleans())
    split_of_group = {group: draw(st.sampled_from(sorted(SPLITS))) for group in GROUPS} if with_splits else {}
    rows = []
    for i, name in enumerate(files):
        group = draw(st.none() | st.sampled_from(GROUPS))
        split = split_of_group.get(group) if group else draw(st.sampled_from(sorted(SPLITS))) if with_splits else None
        mpp = draw(st.none() | st.sampled_from([0.25, 0.5, 1.5]))
        rows.append(Meaning(name, classes[i % len(classes)], group, split, mpp, draw(st.none() | st.just(2.5))))
    return rows


def spelling(draw: st.DrawFn, text: str) -> str:
    """A text that differs from another in nothing that can be seen, or only as a number."""
    if text.isdecimal():
        text += draw(st.sampled_from(("", ".0", ".00")))
    text = unicodedata.normalize(draw(st.sampled_from(("NFC", "NFD"))), text)
    text = text.replace(" ", draw(st.sampled_from((" ", "  ", "\u00a0", "\u2009"))))
    around = st.sampled_from(("", "", " ", "\u200b", "\ufeff", "\u00a0"))
    return draw(around) + text + draw(around)


def number(draw: st.DrawFn, value: float) -> str:
    point = draw(st.sampled_from((f"{value:g}", f"{value:.2f}", f"+{value:g}", f"{value * 10:g}e-1", f"{value:e}")))
    return draw(st.sampled_from((point, point.replace(".", ","))))


def path(draw: st.DrawFn, name: str, folder: Path) -> str:
    bare = {"D.PNG": "D", "E.ome.tif": "E", "Größe 1.png": "Größe 1"}.get(name, name)
    windows = name.replace("/", "\\")
    places = (name, bare, windows, f"./{name}", f"sub/../{name}", f"{folder}/{name}", f"{folder}/{bare}")
    style = draw(st.sampled_from(places))
    return unicodedata.normalize(draw(st.sampled_from(("NFC", "NFD"))), style)


def cells(draw: st.DrawFn, row: Meaning, folder: Path) -> dict[str, str]:
    missing = st.sampled_from(MISSING)
    return {
        "slide": path(draw, row.slide, folder),
        "label": draw(missing) if row.label is None else spelling(draw, row.label),
        "group": draw(missing) if row.group is None else spelling(draw, row.group),
        "split": draw(missing) if row.split is None else draw(st.sampled_from(SPLITS[row.split])),
        "mpp": draw(missing) if row.mpp is None else number(draw, row.mpp),
        "weight": draw(missing) if row.weight is None else number(draw, row.weight),
    }


def written(draw: st.DrawFn, header: dict[str, str], rows: Sequence[dict[str, str]]) -> tuple[bytes, list[int]]:
    """The file of a table, in a random dialect, and the numbers of its rows."""
    columns = draw(st.permutations(list(header)))
    extras = draw(st.lists(st.sampled_from(EXTRAS), max_size=3, unique_by=lambda name: name or object()))
    places = [draw(st.integers(0, len(columns))) for _ in extras]
    delimiter = draw(st.sampled_from(",;\t"))
    out = io.StringIO()
    ends = draw(st.sampled_from(("\n", "\r\n")))
    quoting = draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
    writer = csv.writer(out, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    if draw(st.booleans()):
        out.write(f"sep={delimiter}{ends}")
    other_cells = st.sampled_from(("", "60", "NA", "1,5; x", 'a "b"\n'))
    numbers: list[int] = []
    line = 0
    for record in (header, *rows):
        for _ in range(draw(st.sampled_from((0, 0, 0, 1)))):
            writer.writerow([""] * draw(st.integers(0, 3)))
            line += 1
        filled = [record[column] for column in columns]
        for place, name in zip(places, extras, strict=True):
            filled.insert(place, name if record is header else draw(other_cells))
        writer.writerow(filled + [""] * draw(st.integers(0, 2)))
        line += 1
        numbers.append(line)
    return out.getvalue().encode(draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16")))), numbers[1:]


@st.composite
def tables(
    draw: st.DrawFn, folder: Path, spoil: Callable[[st.DrawFn, list[dict[str, str]]], object] | None = None
) -> Written:
    classes = draw(st.sampled_from(CLASSES))
    meaning = draw(meanings(classes))
    header = {column: draw(st.sampled_from(names)) for column, names in NAMES.items()}
    rows = [cells(draw, row, folder) for row in meaning]
    if spoil is not None:
        spoil(draw, rows)
    for column in draw(st.sets(st.sampled_from(("mpp", "weight", "group", "split")))):
        if all(row[column] in MISSING for row in rows):
            header.pop(column)
    content, numbers = written(draw, header, rows)
    return Written(meaning, numbers, content, classes, "group" in header)


def same(found: str, meant: str | None) -> bool:
    """Whether a name is the one that is meant: numbers may have a fraction of zeros."""
    return found == meant or (meant in ("0", "1", "2", "7", "8") and found.rstrip("0").removesuffix(".") in (meant, ""))


def partition(names: Sequence[str]) -> list[int]:
    return [names.index(name) for name in names]


def read_by_all(table: Path, written: Written, folder: Path) -> None:
    """Assert that predict, train and evaluate understand the meaning."""
    meaning = written.meaning
    files = [folder / row.slide for row in meaning]
    groups = partition([row.group or f"of {row.slide}" for row in meaning])
    for source, row, file in zip(gather(None, table, None), meaning, files, strict=True):
        assert source.path.samefile(file) and (source.mpp, source.group) == (row.mpp, None)
    if written.has_groups:
        sources = gather(None, table, None, "group")
        assert partition([source.group or "" for source in sources]) == groups
        assert all(same(str(s.group), row.group) for s, row in zip(sources, meaning, strict=True) if row.group)
    slides = labelled_slides(None, table)
    for slide, row, file in zip(slides, meaning, files, strict=True):
        assert slide.path.samefile(file) and same(slide.label, row.label)
        assert (slide.split, slide.mpp, slide.weight) == (row.split or "", row.mpp, row.weight or 1.0)
    assert partition([s.group or f"of {s.slide_id}" for s in slides]) == groups
    assert len({s.label for s in slides}) == len({row.label for row in meaning})
    test = [i for i, row in enumerate(meaning) if row.split == "test"]
    taken = test or range(len(meaning))
    labelled, rows = labelled_sources(None, table, None, written.classes)
    assert [one.label for one in labelled] == [meaning[i].label for i in taken]
    assert partition([one.group for one in labelled]) == partition([str(groups[i]) for i in taken])
    assert len(rows.taken) == len(labelled) and len(rows.taken) + len(rows.left) == len(meaning)


@pytest.mark.integration
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_command_understands_what_a_table_means(folder: Path, data: st.DataObject) -> None:
    table = folder / "table.csv"
    drawn = data.draw(tables(folder))
    table.write_bytes(drawn.content)
    read_by_all(table, drawn, folder)


SPOILT = {
    "group": ("na", "n.a.", "unknown", "?", "-", "Nan", "1,23457E+11"),
    "label": ("Null", "n.a."),
    "slide": ("NA", "", "=again"),
    "mpp": ("0_25", "inf", "1,250", "-1", "0", "1e999", "0.25 um", "0.2.5"),
    "weight": ("1_0", "2;5", "0x1"),
    "split": ("tset", "fold 1"),
}


@pytest.mark.integration
@settings(max_examples=30, deadline=None)
@given(data=st.data(), column=st.sampled_from(sorted(SPOILT)))
def test_what_cannot_be_known_is_refused_with_its_row(folder: Path, data: st.DataObject, column: str) -> None:
    table = folder / "table.csv"
    place: list[int] = []

    def spoil(draw: st.DrawFn, rows: list[dict[str, str]]) -> None:
        i = draw(st.integers(1, len(rows) - 1))
        cell = draw(st.sampled_from(SPOILT[column]))
        rows[i][column] = rows[0][column] if cell == "=again" else cell
        place.append(i)

    drawn = data.draw(tables(folder, spoil))
    table.write_bytes(drawn.content)
    said = f"row {drawn.numbers[place[-1]]}[ :]"
    with pytest.raises(AtsError, match=said):
        labelled_slides(None, table)
    with pytest.raises(AtsError, match=said):
        labelled_sources(None, table, None, drawn.classes)
    if column in ("slide", "mpp"):  # predict reads no other
        with pytest.raises(AtsError, match=said):
            gather(None, table, None)


@dataclass(frozen=True)
class Pair:
    """A table in which two rows have two names that may be one; `said`: what is to be said of them."""

    kind: str
    content: bytes
    said: str


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    kind = draw(st.sampled_from(("label", "group")))
    first, second = draw(st.sampled_from((("tumour", "Tumour"), ("1", "01"), ("1e3", "1000"), ("1.0", "1,0"))))
    rows = [{"slide": name, "label": "ab"[i % 2], "group": f"P{i}"} for i, name in enumerate(FILES[:5])]
    i, j = sorted(draw(st.sets(st.integers(0, 4), min_size=2, max_size=2)))
    rows[i][kind], rows[j][kind] = first, second
    content, numbers = written(draw, {name: name for name in rows[0]}, rows)
    return Pair(kind, content, f"row {numbers[j]} has {kind} '{second}', but row {numbers[i]} '{first}'")


@pytest.mark.integration
@settings(max_examples=30, deadline=None)
@given(pairs())
def test_names_that_may_be_one_are_refused_with_both_rows(folder: Path, pair: Pair) -> None:
    table = folder / "table.csv"
    table.write_bytes(pair.content)
    with pytest.raises(AtsError, match=pair.said):
        labelled_slides(None, table)
    if pair.kind == "group":
        with pytest.raises(AtsError, match=pair.said):
            gather(None, table, None, "group")
    assert len(gather(None, table, None)) == 5, "predict reads neither"


@pytest.mark.integration
def test_whole_commands(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A plain table and one in the dialect of Excel, R and a Mac give the same answers, files and messages apart."""
    model = write_model(tmp_path / "model", replace(SPEC, classes=("0", "1")))
    plain = "slide,label,group,mpp\nD.PNG,1,P1,0.25\nE.ome.tif,0,P2,\na.png,1,P1,0.5\nGröße 1.png,0,,\n"
    odd = "\n".join([
        "sep=;", 'Label;"note; free";Group;MPP;SLIDE_ID;;', "1.0;x;P1\u200b;0,25;D;;", ";;;;;;", "0;y;P2;NA;E;;",
        "1;;P1;0,50;./a.png;;", f'0.0;"z ""q""";NaN;NULL;{unicodedata.normalize("NFD", "Größe 1")};;', "",
    ])  # fmt: skip
    answers = []
    for name, content in (("plain.csv", plain.encode()), ("odd.csv", odd.replace("\n", "\r\n").encode("utf-16"))):
        (folder / name).write_bytes(content)
        given_ = ("--manifest", str(folder / name), "-m", str(model), "--json", "--group-by", "group")
        assert run(["predict", *given_]) == 0
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        kept = ("slide_id", "group", "logits", "logits_se", "mpp", "slides")
        answers.append([{key: line[key] for key in kept if key in line} for line in lines])
        assert run(["evaluate", *given_]) == 0
        metrics = json.loads(capfd.readouterr().out)
        del metrics["budgets"][0]["cost"]
        answers[-1].append(metrics)
    assert answers[0] == answers[1]
    assert [line.get("group") for line in answers[0][:-1]] == [None] * 4 + ["P1", "P2", "Größe 1"]


@st.composite
def several(draw: st.DrawFn) -> tuple[list[frozenset[str]], bytes]:
    """Sets of labels, and a table of them; of no label, the cell is missing."""
    sets = draw(st.lists(st.frozensets(st.sampled_from(("Größe", "high grade", "1", "none"))), min_size=4, max_size=6))
    names = draw(st.permutations(FILES))
    rows = [
        {"slide": name, "label": "; ".join(spelling(draw, one) for one in sorted(of)) or draw(st.sampled_from(MISSING))}
        for name, of in zip(names, sets, strict=False)
    ]
    return sets, written(draw, {"slide": "slide", "label": "label"}, rows)[0]


@pytest.mark.integration
@settings(max_examples=20, deadline=None)
@given(several())
def test_several_labels_are_those_that_were_meant(folder: Path, drawn: tuple[list[frozenset[str]], bytes]) -> None:
    sets, content = drawn
    table = folder / "table.csv"
    table.write_bytes(content)
    if not any(sets):
        with pytest.raises(AtsError, match="are of no class"):
            labelled_slides(None, table, task="multi-label")
        return
    found = [TASKS["multi-label"].class_names(s.label) for s in labelled_slides(None, table, task="multi-label")]
    assert all(len(one) == len(of) for one, of in zip(found, sets, strict=True))
    for names, of in zip(found, sets, strict=True):
        assert all(any(same(name, meant) for meant in of) for name in names)
    assert len({name for names in found for name in names}) == len(frozenset().union(*sets))


@settings(max_examples=20, deadline=None)
@given(data=st.data(), values=st.lists(st.sampled_from([0.25, 1.5, 2.5, 12.0]), min_size=3, max_size=6))
def test_numbers_to_learn_are_those_that_were_meant(folder: Path, data: st.DataObject, values: list[float]) -> None:
    table = folder / "table.csv"

    @st.composite
    def numbers(draw: st.DrawFn) -> bytes:
        rows = [{"slide": n, "label": number(draw, v)} for n, v in zip(FILES, values, strict=False)]
        return written(draw, {"slide": "slide", "label": "label"}, rows)[0]

    table.write_bytes(data.draw(numbers()))
    if len(set(values)) == 1:
        with pytest.raises(AtsError, match="have the same number"):
            labelled_slides(None, table, task="regression")
        return
    labels = [slide.label for slide in labelled_slides(None, table, task="regression")]
    mean, deviation = TASKS["regression"].scale(labels)
    assert (mean, deviation) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values)))
