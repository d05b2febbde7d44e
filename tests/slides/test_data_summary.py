"""What was understood of labelled slides fits on a terminal, and holds no name of a slide or a patient."""

from __future__ import annotations

import json
from collections import Counter
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.slides.inputs.data_summary import COLUMNS, LINES, InputNotes, SummaryRow, summarise

NAMES = st.text(min_size=1, max_size=200).filter(str.strip)
CLASSES = st.lists(NAMES, min_size=1, max_size=40, unique=True)


@st.composite
def summaries(draw: st.DrawFn) -> tuple[list[SummaryRow], list[str], InputNotes]:
    classes = draw(CLASSES)
    parts = draw(st.sampled_from([[""], ["train", "val"], ["train", "val", "test"], ["fold 1", "", "others"]]))
    row = st.builds(
        SummaryRow, st.sampled_from(parts), st.lists(st.sampled_from(classes), max_size=3, unique=True),
        st.sampled_from(["", "patient-7", "patient-8"]), st.sampled_from([None, 2.5, -1e6]),
    )  # fmt: skip
    notes = InputNotes(
        draw(st.dictionaries(NAMES, st.integers(1, 10**6), max_size=9)),
        draw(st.dictionaries(st.sampled_from(["without tissue", "unreadable"]), st.integers(1, 99))),
        draw(st.integers(0, 3)),
        tuple(draw(st.lists(NAMES, max_size=9))),
    )
    return draw(st.lists(row, max_size=60)), classes, notes


@pytest.mark.integration
@settings(max_examples=80, deadline=None)
@given(summaries())
def test_fifteen_lines_of_eighty_columns(drawn: tuple[list[SummaryRow], list[str], InputNotes]) -> None:
    rows, classes, notes = drawn
    summary = summarise(rows, classes, notes)
    lines = summary.lines()
    assert len(lines) <= LINES == 15
    assert all(len(f"ats: {line}") <= 80 and not any(category(c) == "Cc" for c in line) for line in lines)
    # All of it: a line for each class.
    whole = summary.lines(None)
    assert len(whole) > len(classes) and all(len(line) <= COLUMNS for line in whole)
    # The figures are counts of what was given.
    counts = Counter(name for row in rows for name in row.classes)
    assert {name: sum(own.values()) for name, own in summary.classes.items()} == {n: counts[n] for n in classes}
    assert sum(summary.parts.values()) == summary.slides == len(rows)
    groups = Counter(row.group for row in rows if row.group)
    assert (summary.groups, summary.ungrouped) == (len(groups), sum(not row.group for row in rows))
    assert "patient-" not in json.dumps(summary.as_dict()) and "notes" not in summary.as_dict()


def test_rare_classes_are_shown_of_many() -> None:
    rows = [SummaryRow("train", [f"class {i}"]) for i in range(40) for _ in range(1 if i == 30 else 9)]
    lines = summarise(rows, [f"class {i}" for i in range(40)], InputNotes()).lines()
    assert any(line.split() == ["class", "30", "1"] for line in lines)
    assert lines[-1].strip() == "and 28 more classes, none of them rarer"
