"""One slide counts once: links, hard links and copies, whatever their names; two labels for it are an error."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import AtsError
from ats_cli.slides.identity.same_slide import contents_of, same_slides
from ats_cli.slides.inputs.data_summary import InputNotes
from ats_cli.slides.inputs.duplicates import Occurrence, each_once
from ats_cli.slides.remote.path import RemotePath
from tests.small import noise, write_slide

# Two large ones agree in size, head, middle and tail.
CONTENTS = [b"", b"a" * 900, b"b" * 900, b"x" * 50_000, b"x" * 20_000 + b"y" + b"x" * 29_999]


@st.composite
def files(draw: st.DrawFn) -> list[tuple[int, str, str, str, str]]:
    """Of each file: its content, how it is made, label, split, group."""
    one = st.tuples(
        st.integers(0, len(CONTENTS) - 1), st.sampled_from(["copy", "link", "hard link"]), st.sampled_from("aaab"),
        st.sampled_from(["", "", "", "test"]), st.sampled_from(["", "", "P1", "P2"]),
    )  # fmt: skip
    return draw(st.lists(one, min_size=1, max_size=8))


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(files())
def test_one_file_counts_once_or_is_a_contradiction(made: list[tuple[int, str, str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        first: dict[int, Path] = {}
        found = []
        for number, (content, how, label, split, group) in enumerate(made):
            path = Path(place, f"{number}.tif")
            before = first.setdefault(content, path)
            if before == path or how == "copy":
                path.write_bytes(CONTENTS[content])
            elif how == "link":
                path.symlink_to(before)
            else:
                path.hardlink_to(before)
            found.append(Occurrence(f"s{number}", path, label, split, group))
        # By their bytes; empty files are no slides.
        together: dict[object, list[Occurrence]] = {}
        for one in found:
            together.setdefault(Path(str(one.path)).read_bytes() or one.slide_id, []).append(one)
        contradictions = [
            own for own in together.values()
            if len({o.label for o in own}) > 1 or len({o.split for o in own}) > 1
            or len({o.group for o in own if o.group}) > 1
        ]  # fmt: skip
        contents = contents_of([one.path for one in found], 2)
        if contradictions:
            with pytest.raises(AtsError, match="the same file as") as raised:
                each_once(found, contents, InputNotes())
            named = [sum(str(one.path) in str(raised.value) for one in own) for own in contradictions]
            assert 2 in named
            return
        once = each_once(found, contents, InputNotes())
        assert [found[i].slide_id for i in once.groups] == [own[0].slide_id for own in together.values()]
        assert list(once.groups.values()) == [max(o.group for o in own) for own in together.values()]
        assert once.notes.duplicates == len(found) - len(together)
        assert len(once.notes.notes) == (len(found) > len(together))


def test_slides_of_several_files_are_compared_whole(tmp_path: Path) -> None:
    """A Zarr and its copy, and one of which a chunk that is not sampled differs."""
    zarr = tmp_path / "a.zarr"
    (zarr / "0").mkdir(parents=True)
    (zarr / ".zgroup").write_text("{}")
    for number in range(40):
        (zarr / "0" / f"{number}").write_bytes(bytes([number]) * 5000)
    shutil.copytree(zarr, tmp_path / "b.zarr")
    shutil.copytree(zarr, tmp_path / "c.zarr")
    (tmp_path / "c.zarr" / "0" / "1").write_bytes(bytes(5000))
    paths = [tmp_path / f"{name}.zarr" for name in "abc"]
    contents = contents_of(paths, 1)
    assert len(set(contents)) == 1
    assert same_slides(paths, contents).same == ((0, 1),)


def test_remote_slides_are_said_and_not_merged(tmp_path: Path) -> None:
    local = write_slide(tmp_path / "a.tif", noise(40, 40))
    remote = RemotePath("https://example.org/a.tif")
    (content,) = contents_of([local], 1)
    found = [Occurrence("a", local, "x"), Occurrence("b", remote, "y")]
    once = each_once(found, [content, content], InputNotes())
    assert list(once.groups) == [0, 1] and once.notes.duplicates == 0
    assert "b (as a)" in once.notes.notes[0] and "not compared whole" in once.notes.notes[0]


def test_a_link_to_a_slide_reads_nothing_more(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.tile(noise(64, 64), (4, 4, 1)))
    (tmp_path / "b.tif").hardlink_to(path)
    paths = [path, tmp_path / "b.tif"]
    contents = contents_of(paths, 1)
    path.write_bytes(b"another content")
    assert same_slides(paths, contents).same == ((0, 1),)
