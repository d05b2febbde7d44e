"""Whatever a name or a model's text holds: a terminal shows it, a parser reads it, a spreadsheet does not run it."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.results.files import csv_bytes, json_bytes
from ats_cli.results.record import json_line
from ats_cli.text import csv_text, encodable, existing_path, printable

ANY = st.text(st.characters(codec=None, categories=None), max_size=40)
SHOWN = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), max_size=20)
FILE_NAMES = st.binary(min_size=1, max_size=20).map(lambda name: name.replace(b"\0", b"").replace(b"/", b"") or b"x")
DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
SEQUENCES = st.sampled_from(
    (
        *(
            "\x1b[31m",
            "\x1b[2J",
            "\x1b]52;c;ZXZpbA==\x07",
            "\x1b]8;;https://x.org\x1b\\",
            "\x9b1;1H",
            "\x9d0;title\x9c",
        ),
        *("\x1bP1$r0m\x1b\\", "\x1bc", "\x1b(0", "\x1b[?1049h", "\u202e", "\u2066", "\x00", "\x7f", "\x08"),
    )
)


def is_safe(text: str) -> bool:
    return not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in DIRECTIONS for c in text
    )


@pytest.mark.integration
@settings(deadline=None, max_examples=200)
@given(ANY)
def test_what_is_printed_moves_no_cursor(text: str) -> None:
    assert is_safe(printable(text))
    assert is_safe(printable(text, lines=True).translate({ord(c): None for c in "\n\t"}))
    assert printable(printable(text)) == printable(text)


@pytest.mark.integration
@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(SHOWN, SEQUENCES), max_size=6), SHOWN)
def test_sequences_are_taken_out_whole_and_the_text_around_them_stays(parts: list[tuple[str, str]], end: str) -> None:
    text = "".join(shown + sequence for shown, sequence in parts) + end
    without = "".join(shown for shown, _ in parts) + end
    assert printable(text) == without


@pytest.mark.integration
@settings(deadline=None, max_examples=200)
@given(FILE_NAMES)
def test_a_name_that_is_not_utf8_is_shown_and_can_be_written(name: bytes) -> None:
    shown = encodable(name.decode("utf-8", "surrogateescape"))
    assert shown == name.decode("utf-8", "backslashreplace") and shown.encode()
    # In the C locale every byte above 127 of a name is a surrogate: it is shown the same.
    assert encodable(name.decode("ascii", "surrogateescape")) == shown


def test_the_path_that_was_shown_is_found_again(tmp_path) -> None:
    for name in (b"caf\xe9.tif", "日本.tif".encode(), b"a\xffb\xfe\x1b[1m.tif", rb"real\xe9.tif"):
        path = tmp_path / os.fsdecode(name)
        path.touch()
        (cell,) = next(csv.reader(io.StringIO(csv_bytes([[path]]).decode(), newline="")))
        assert existing_path(csv_text(cell)) == path
    assert existing_path(str(tmp_path / r"nothing\xe9.tif")) == tmp_path / r"nothing\xe9.tif"


@pytest.mark.integration
@settings(deadline=None, max_examples=200)
@given(st.dictionaries(ANY, st.one_of(ANY, st.integers(), st.none())))
def test_json_is_ascii_safe_and_says_what_was_meant(record: dict[str, object]) -> None:
    def meant(value: object) -> object:
        return encodable(value) if isinstance(value, str) else value

    expected = {meant(key): meant(value) for key, value in record.items()}
    line = json_line(record)
    assert is_safe(line) and json.loads(line.encode("utf-8")) == expected
    assert json.loads(json_bytes(record)) == expected


WRITABLE = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t\r\n"), max_size=10)
CELLS = st.one_of(
    WRITABLE,
    st.tuples(st.text("'=+-@\t\r\n＝＠", max_size=4), WRITABLE).map("".join),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
)


@pytest.mark.integration
@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=4))
def test_no_text_of_a_table_is_a_formula_and_all_are_read_back(rows: list[list[object]]) -> None:
    found = list(csv.reader(io.StringIO(csv_bytes(rows).decode("utf-8"), newline="")))
    assert [[csv_text(cell) for cell in row] for row in found] == [[str(value) for value in row] for row in rows]
    for row, cells in zip(rows, found, strict=True):
        for value, cell in zip(row, cells, strict=True):
            if isinstance(value, str) and cell.startswith(
                ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
            ):
                float(cell)  # a number is no formula
            if not isinstance(value, str):
                assert cell == str(value)
