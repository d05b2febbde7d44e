"""Any bytes are a table or a sentence, and a table of a million rows costs what is kept of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import SlideError
from ats_cli.results.files import csv_bytes
from ats_cli.slides import read_manifest
from ats_cli.slides.inputs.csv_rows import csv_table
from ats_cli.slides.inputs.discovery import slide_ids
from ats_cli.slides.inputs.header import is_slide_column

CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters='\t\n\r",;='), max_size=8)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


@pytest.mark.integration
@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5), st.sampled_from(ENCODINGS))
def test_rows_are_those_that_were_written(rows: list[list[str]], encoding: str) -> None:
    rows = [["slide", "label"], *rows]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "m.csv")
        file.write_bytes(csv_bytes(rows).decode("utf-8").encode(encoding))
        expected = [(number, row) for number, row in enumerate(rows, start=1) if any(map(str.strip, row))]
        found = list(csv_table(file, is_slide_column).rows())
        assert [(number, [c.lstrip(" ") for c in row]) for number, row in found] == [
            (number, [c.lstrip(" ") for c in row]) for number, row in expected
        ]


TABLE = b"slide,label\na.svs,x\nb.svs,y\n"


@pytest.mark.integration
@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(st.integers(0, len(TABLE)), st.binary(max_size=4)).map(
            lambda at: TABLE[: at[0]] + at[1] + TABLE[at[0] :]
        ),
        st.text(max_size=40).map(lambda text: text.encode("utf-16")),
        CELLS.map(lambda cell: b"slide\n" + cell.encode()),
    )
)
def test_any_bytes_are_a_table_or_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "m.csv")
        file.write_bytes(content)
        try:
            table = read_manifest(file)
        except SlideError as error:
            assert str(error).startswith("m.csv: ")
            return
        # What is taken for a table has no more rows, and no other names, than its text has.
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        assert 0 < len(table.rows) < len(re.split("[\r\n]+", text.strip("\r\n")))
        for row in table.rows:
            assert str(row.path.name).strip("'") in text.replace('""', '"'), row


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"slide\na\0.svs\n", "row 2 has NUL bytes"),
        ("slide\na.svs\n".encode("utf-16-le"), "row 1 has NUL bytes"),
        ("slide\na.svs\n".encode("utf-16")[:-1], "row 2 could not be read as CSV"),
        ("slide\na.svs\ncaf\xe9.svs\n".encode("cp1252"), r"row 3 is not in UTF-8 \('café.svs' in Windows-1252"),
        (b'slide,label\n"a.svs,x\nb.svs,y\n', "row 2 could not be read as CSV .* Is a quote not closed"),
        (b'slide,label\na.svs,"x', "row 2 could not be read as CSV .* Is a quote not closed"),
        (b'slide,label\n"a.svs" or so,x\n', "row 2 could not be read as CSV"),
        (b"slide,x;path\na.svs,b\n", "row 1 can be read with a comma and a semicolon between its cells"),
        (b'slide,label\na.svs,"' + b"x\n" * 100_000, "row 2 could not be read as CSV"),
        (b"slide\n" + b"x" * 200_000, "row 2 could not be read as CSV"),
        (b"slide\n" + b"x" * 2_000_000, "row 2 has more than 1,048,576 characters"),
        (b"slide\nhttps://\n", "row 2 names no slide"),
        (b"slide\nhttps://[x/a.svs\n", "row 2 names no slide"),
    ],
)
def test_a_broken_table_is_a_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(SlideError, match=rf"^m\.csv: .*{words}"):
        read_manifest(tmp_path / "m.csv")


def test_a_name_too_long_for_a_file_is_a_slide_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide\n" + "x" * 5000 + ".svs\ny\\xe9" + "y" * 5000 + "\n")
    assert len(slide_ids([row.path for row in read_manifest(tmp_path / "m.csv").rows])) == 2


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's peak memory")
def test_a_long_table_costs_little_and_what_is_left_of_it_less(tmp_path: Path) -> None:
    """Peak memory of a process that reads 60,000 rows and gives each an id; and of one that takes ten for figures."""
    file = tmp_path / "m.csv"
    lines = (
        f"/data/cohort/{i // 1000}/slide-{i}.svs,tumour,{'test' if i % 6000 == 0 else 'train'},patient {i // 10}"
        for i in range(60_000)
    )
    file.write_text("slide,label,split,group\n" + "\n".join(lines))
    all_rows = f"""
rows = read_manifest({str(file)!r}).rows
assert len(set(slide_ids([row.path for row in rows]))) == 60_000
"""
    ten = f"""
labelled, rows = labelled_sources(None, Path({str(file)!r}), None, ("tumour",))
assert len(labelled) == 10 and rows.as_dict()["left"] == 59_990
"""
    assert bytes_a_row(all_rows, 60_000) < 1500
    assert bytes_a_row(ten, 60_000) < 500


def bytes_a_row(code: str, rows: int) -> float:
    code = f"""
from pathlib import Path
from ats_cli.inference.evaluate import labelled_sources
from ats_cli.slides import read_manifest
from ats_cli.slides.inputs.discovery import slide_ids
def peak():
    # Not ru_maxrss: on Linux a process begins with that of the one that started it, here all the tests before.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])
before = peak()
{code}
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024 / rows
