"""Runs are joined where they are of one kind, and refused, with what differs, where they are not."""

from __future__ import annotations

import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_run import CLASSES, GOOD, MODEL, SETTINGS, slides, table

from ats_cli.errors import AtsError
from ats_cli.prediction_parts import Provenance
from ats_cli.records import Fingerprint
from ats_cli.results.groups import GroupBy
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.merge import merge_runs
from ats_cli.results.run.request import RunRequest
from ats_cli.results.run.run_file import RunSlide


def made(
    path: Path,
    *ids: str,
    changed: dict[str, object] | None = None,
    model: dict[str, str] = MODEL,
    shard: str | None = None,
    done: int | None = None,
    **begin: Any,
) -> Path:
    """A run of which so many slides are done; without `done`, all but the last of several."""
    run = RunFolder(path)
    listed = begin.pop("slides", None) or slides(*ids)
    facts, group_by = {"device": "cpu", "shard": shard}, begin.pop("group_by", None)
    run.begin(RunRequest(listed, SETTINGS | (changed or {}), model, CLASSES, facts, group_by=group_by), **begin)
    for name in (ids[:-1] or ids) if done is None else ids[:done]:
        run.add(GOOD.__class__(**{**GOOD.__dict__, "slide_id": name, "path": f"/data/{name}.svs"}))
    run.end()
    return path


def test_runs_become_one(tmp_path: Path) -> None:
    parts = [made(tmp_path / "1", "a", "b"), made(tmp_path / "2", "c")]
    assert merge_runs(parts, tmp_path / "all", {})[:2] == (3, 1)
    assert [row["slide_id"] for row in table(tmp_path / "all")] == ["a", "c"]
    for name in ("prediction.json", "tiles.csv", "draw.npz"):
        copied = (tmp_path / "all" / "slides" / "a" / name).read_bytes()
        assert copied == (tmp_path / "1" / "slides" / "a" / name).read_bytes()
    assert set(RunFolder(tmp_path / "all").slides) == {"a", "b", "c"}
    with pytest.raises(AtsError, match="holds a run already"):
        merge_runs(parts[:1], tmp_path / "all", {})
    assert merge_runs(parts, tmp_path / "all", {}, overwrite=True)[:2] == (3, 1)


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_missing_of_a_whole_is_said(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("parts")
    ids = [f"s{i}" for i in range(data.draw(st.integers(1, 7)))]
    parts = data.draw(st.integers(1, 4))
    there = data.draw(st.sets(st.integers(1, parts), min_size=1))
    grouping = {"group_by": GroupBy("patient")} if data.draw(st.booleans()) else {}
    paths, right, unfinished = [], [], {}
    for i in sorted(there):
        own = ids[i - 1 :: parts]
        done = data.draw(st.integers(0, len(own)))
        right += own[:done]
        if done < len(own):
            unfinished[folder / str(i)] = f"{len(own) - done} of {len(own)} slides have no prediction"
        listed = [slide._replace(group="p") for slide in slides(*own)]
        paths.append(made(folder / str(i), *own, shard=f"{i}/{parts}", done=done, slides=listed, **grouping))
    merged = merge_runs(data.draw(st.permutations(paths)), folder / "all", {})
    said = " ".join(merged.lacks)
    assert {row["slide_id"] for row in table(folder / "all")} == set(right)
    missing = {f"{i}/{parts}" for i in range(1, parts + 1)} - there_as_parts(there, parts)
    assert bool(merged.lacks) == bool(missing or unfinished)
    assert all(part in said for part in missing)
    assert all(f"{path}: {count}" in said for path, count in unfinished.items())
    if grouping and missing:
        assert not (folder / "all/predictions_by_group.csv").exists(), "half of a patient's slides"


def there_as_parts(there: set[int], parts: int) -> set[str]:
    return {f"{i}/{parts}" for i in there}


def test_the_same_merge_goes_on_once_what_it_lacked_is_there(tmp_path: Path) -> None:
    parts = [made(tmp_path / "1", "a", "b", done=1), made(tmp_path / "2", "c")]
    assert merge_runs(parts, tmp_path / "all", {}).missing == 1
    made(tmp_path / "1", "a", "b", done=2)
    assert merge_runs(parts, tmp_path / "all", {}) == (3, 0, ())
    with pytest.raises(AtsError, match="holds a run already"):
        merge_runs(parts, tmp_path / "all", {})


@pytest.mark.integration
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 20))
def test_a_merge_that_was_killed_goes_on_with_the_same_call(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    """Killed at one of its writes, as by `kill -9`: nothing is tidied up."""
    folder = tmp_path_factory.mktemp("killed")
    parts = [made(folder / "1", "a", "b", done=2), made(folder / "2", "c", "d", done=2)]
    assert merge_runs(parts, folder / "right", {}) == (4, 0, ())
    pid = os.fork()
    if not pid:
        writes = itertools.count()
        sys.addaudithook(lambda event, _: os._exit(9) if event == "os.rename" and next(writes) == at else None)
        merge_runs(parts, folder / "all", {})
        os._exit(0)
    os.waitpid(pid, 0)
    if not RunFolder(folder / "all").exists or RunFolder(folder / "all").is_unfinished_merge([str(p) for p in parts]):
        assert merge_runs(parts, folder / "all", {}) == (4, 0, ())
    for name in ("predictions.csv", *(f"slides/{s}/{f}" for s in "abcd" for f in ("prediction.json", "draw.npz"))):
        assert (folder / "all" / name).read_bytes() == (folder / "right" / name).read_bytes()
    assert not list((folder / "all").rglob("*.part"))


def test_two_files_of_one_name_are_not_called_the_same(tmp_path: Path) -> None:
    def one(path: Path, content: str, slide_id: str, file: str) -> Path:
        run = RunFolder(path)
        run.begin(RunRequest([RunSlide(slide_id, file)], SETTINGS, MODEL, CLASSES, {}))
        run.add(replace(GOOD, slide_id=slide_id, provenance=Provenance(fingerprint=Fingerprint(content, "1"))))
        run.end()
        return path

    first = one(tmp_path / "1", "9-aa", "a", "/disk1/a.svs")
    with pytest.raises(AtsError, match=r"slide a is in .*1 too"):
        merge_runs([first, one(tmp_path / "2", "9-aa", "a", "/disk2/a.svs")], tmp_path / "all", {})
    with pytest.raises(AtsError, match=r"slide a is another file than in .*1: their content differs"):
        merge_runs([first, one(tmp_path / "3", "9-bb", "a", "/disk2/a.svs")], tmp_path / "all", {})
    with pytest.raises(AtsError, match=r"slide disk1/a is the file of a in .*1\."):
        merge_runs([first, one(tmp_path / "4", "9-aa", "disk1/a", "/disk1/a.svs")], tmp_path / "all", {})


def test_what_does_not_go_together_is_refused_and_said(tmp_path: Path) -> None:
    first = made(tmp_path / "1", "a")
    for name, changed, model, said in (
        ("seed", {"seed": 7}, MODEL, "has seed 0, not 7"),
        ("precision", {"precision": "bf16"}, MODEL, "has precision none, not bf16"),
        ("model", {}, {**MODEL, "hash": "9"}, r"has model demo \(0123\), not demo \(9\)"),
    ):
        with pytest.raises(AtsError, match=said):
            merge_runs([first, made(tmp_path / name, "z", changed=changed, model=model)], tmp_path / "all", {})
    with pytest.raises(AtsError, match=r"slide a is in .*1 too"):
        merge_runs([first, made(tmp_path / "2", "a")], tmp_path / "all", {})
    with pytest.raises(AtsError, match="no run here"):
        merge_runs([first, tmp_path / "nowhere"], tmp_path / "all", {})
    with pytest.raises(AtsError, match="to be read and written"):
        merge_runs([first], first, {}, overwrite=True)
    assert not (tmp_path / "all").exists()
