"""Broken slides end in a result or a sentence, quickly and in little memory: so many here, more by
`python benchmarks/mutations.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import mutations, originals
from promises import PROMISES
from supervised import Look, looks

pytestmark = pytest.mark.integration

COUNT = 200

# What a file of a few hundred bytes may come to, whatever it promises.
MODEST_MEGABYTES = 256


def bad(found: list[Look]) -> list[Look]:
    return [one for one in found if one.end not in ("result", "sentence")]


def test_broken_slides_end_in_a_result_or_a_sentence(tmp_path: Path) -> None:
    files = originals(tmp_path)
    (tmp_path / "broken").mkdir()
    whole = list(looks(files.values()))
    assert [one.end for one in whole] == ["result"] * len(files), whole
    found = list(looks(mutations(files, tmp_path / "broken", 0, COUNT)))
    assert len(found) == COUNT and not bad(found)
    # The mutations are neither harmless nor hopeless.
    results = sum(one.end == "result" for one in found)
    assert COUNT / 5 < results < COUNT * 4 / 5


def test_mutations_are_the_same_each_time(tmp_path: Path) -> None:
    files = originals(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    once = {path.name: path.read_bytes() for path in mutations(files, tmp_path / "a", 0, 30)}
    again = {path.name: path.read_bytes() for path in mutations(files, tmp_path / "b", 10, 20)}
    assert len(once) == 30 and all(once[name] == content for name, content in again.items())
    unlike = sum(content != files["svs"].read_bytes() for name, content in once.items() if name.endswith(".svs"))
    assert unlike >= 4


def test_a_header_that_promises_a_million_squared_allocates_nothing(tmp_path: Path) -> None:
    paths = []
    for name, content in PROMISES.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content())
        assert paths[-1].stat().st_size < 2048
    found = list(looks(paths, megabytes=MODEST_MEGABYTES))
    assert {one.path.name: one.end for one in found} == dict.fromkeys(PROMISES, "sentence"), found


def test_what_ends_otherwise_is_told(tmp_path: Path) -> None:
    # Otherwise the tests above could not fail.
    ends = {
        "result": "pass",
        "died": "import os; os.kill(os.getpid(), 9)",
        "too slow": "while True: pass",
        "too large": "b = b'x' * 400_000_000",
        "unforeseen": "1 / 0",
    }
    for end, code in ends.items():
        (tmp_path / f"{end}.py").write_text(code)
    order = [end for bad in list(ends)[1:] for end in ("result", bad)] + ["result"]
    found = looks([tmp_path / f"{end}.py" for end in order], 5, 90, "exec")
    assert [one.end for one in found] == order
