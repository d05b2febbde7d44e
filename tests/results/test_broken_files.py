"""Files of a run that were damaged by hand or by a disk: a sentence, or the slide is predicted anew."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_run import BAD, CLASSES, GOOD, MODEL, SETTINGS, slides

from ats_cli.errors import AtsError
from ats_cli.prediction_parts import Provenance
from ats_cli.records import Fingerprint
from ats_cli.results.groups import GroupBy
from ats_cli.results.record import prediction_dict
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.merge import merge_runs
from ats_cli.results.run.request import RunRequest

RECORD, DRAW, TILES = (f"slides/a/{name}" for name in ("prediction.json", "draw.npz", "tiles.csv"))
STRANGE: tuple[Any, ...] = (
    None, True, -1, 1.5, 10**30, float("nan"), float("-inf"), "", "../..", "a\0b", "\ud800", [], {}, [[]], {"": None},
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    folder = RunFolder(path)
    listed = [slide._replace(group="p") for slide in slides("a", "b")]
    folder.begin(
        RunRequest(listed, SETTINGS, MODEL, CLASSES, {"device": "cpu", "shard": "1/1"}, group_by=GroupBy("patient"))
    )
    folder.add(replace(GOOD, provenance=Provenance(fingerprint=Fingerprint("9-ab", "1"))))
    folder.add(BAD)
    folder.end()
    return path


def gone_on_with(path: Path) -> RunFolder | None:
    """The run, begun anew to more tiles and ended, with what it has of each slide; None where a sentence refused it."""
    try:
        folder = RunFolder(path)
        kept = folder.begin(
            RunRequest(slides("a", "b"), {**SETTINGS, "tiles": 9}, MODEL, CLASSES, {}),
            extend=True,
            fingerprint=lambda _: Fingerprint("9-ab", "1"),
        )
    except AtsError as error:
        assert str(error)
        return None
    for slide_id in ("a", "b"):
        folder.before(slide_id)
    for prediction in kept.values():
        json.dumps(prediction_dict(prediction), allow_nan=False)
    folder.end()
    return folder


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inside for found in places(one, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@pytest.mark.integration
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_value_of_another_type(tmp_path_factory: pytest.TempPathFactory, run: Path, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("broken") / "run"
    shutil.copytree(run, path)
    file = path / data.draw(st.sampled_from(["run.json", RECORD]))
    whole = json.loads(file.read_text())
    place = data.draw(st.sampled_from(places(whole)))
    new = data.draw(st.sampled_from(STRANGE))
    file.write_text(json.dumps(put(whole, place, new)))
    found = gone_on_with(path)
    if found is not None and file.name != "run.json" and is_another_type(whole, place, new):
        assert found.record("a") is None, f"{place} is {new!r}"
    merged = tmp_path_factory.mktemp("merged") / "all"
    if found is not None:
        merge_runs([path], merged, {})


def is_another_type(whole: Any, place: tuple[Any, ...], new: Any) -> bool:
    """Whether a value that was there is replaced by one that no record has in its place."""
    for key in place:
        whole = whole[key]
    number = (int, float)
    if whole is None or new is None or place == ("schema_version",):
        return False
    both_numbers = isinstance(whole, number) and isinstance(new, number) and not isinstance(whole, bool)
    if both_numbers and not isinstance(new, bool):
        return new != new or new in (float("inf"), float("-inf"))
    return type(whole) is not type(new) or not place


@pytest.mark.integration
@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["run.json", RECORD, DRAW, TILES]))
def test_bytes_that_are_lost_or_others(
    tmp_path_factory: pytest.TempPathFactory, run: Path, data: st.DataObject, name: str
) -> None:
    path = tmp_path_factory.mktemp("broken") / "run"
    shutil.copytree(run, path)
    whole = (path / name).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    broken = data.draw(
        st.sampled_from(
            [
                whole[:place],
                whole[:place] + bytes(whole[place : place + 9]) * 2 + whole[place + 9 :],
                whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :],
                b"[" * 100_000,
                b"\0" * len(whole),
            ]
        )
    )
    (path / name).write_bytes(broken)
    gone_on_with(path)


def test_a_record_in_the_folder_of_another_slide_is_no_answer(tmp_path: Path, run: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.copy(run / RECORD, tmp_path / "run/slides/b/prediction.json")
    found = gone_on_with(tmp_path / "run")
    assert found is not None and found.record("a") is not None and found.record("b") is None


@pytest.mark.parametrize("way", ["deleted", "a slide deleted", "moved"])
def test_a_run_whose_files_go_away_ends_in_a_sentence(tmp_path: Path, way: str) -> None:
    path = tmp_path / "run"
    folder = RunFolder(path)
    folder.begin(RunRequest(slides("a", "b"), SETTINGS, MODEL, CLASSES, {}))
    folder.add(GOOD)
    if way == "deleted":
        shutil.rmtree(path)
    elif way == "moved":
        path.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(path / "slides/a")
    if way != "a slide deleted":
        with pytest.raises(OSError, match="the folder was deleted or replaced"):
            folder.add(BAD)
        assert not path.exists(), "nothing is written beside what is lost"
    with pytest.raises(OSError, match=r"(were|was) deleted"):
        folder.end()
