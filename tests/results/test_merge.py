"""Runs are joined where they are of one kind, and refused, with what differs, where they are not."""

from pathlib import Path

import pytest
from test_run import CLASSES, GOOD, MODEL, SETTINGS, slides, table

from ats_cli.records import AtsError
from ats_cli.results.merge import merge_runs
from ats_cli.results.run import RunFolder


def made(path: Path, *ids: str, settings: dict[str, object] | None = None, model: dict[str, str] = MODEL) -> Path:
    run = RunFolder(path)
    run.begin(slides(*ids), SETTINGS | (settings or {}), model, CLASSES, {"device": "cpu"})
    for name in ids[:-1] or ids:
        run.add(GOOD.__class__(**{**GOOD.__dict__, "slide_id": name, "path": f"/data/{name}.svs"}))
    run.end()
    return path


def test_runs_become_one(tmp_path: Path) -> None:
    parts = [made(tmp_path / "1", "a", "b"), made(tmp_path / "2", "c")]
    assert merge_runs(parts, tmp_path / "all", {}) == (3, 1)
    assert [row["slide_id"] for row in table(tmp_path / "all")] == ["a", "c"]
    for name in ("prediction.json", "tiles.csv", "draw.npz"):
        copied = (tmp_path / "all" / "slides" / "a" / name).read_bytes()
        assert copied == (tmp_path / "1" / "slides" / "a" / name).read_bytes()
    assert set(RunFolder(tmp_path / "all").slides) == {"a", "b", "c"}
    with pytest.raises(AtsError, match="holds a run already"):
        merge_runs(parts, tmp_path / "all", {})
    assert merge_runs(parts, tmp_path / "all", {}, overwrite=True) == (3, 1)


def test_what_does_not_go_together_is_refused_and_said(tmp_path: Path) -> None:
    first = made(tmp_path / "1", "a")
    for name, settings, model, said in (
        ("seed", {"seed": 7}, MODEL, "has seed 0, not 7"),
        ("precision", {"precision": "bf16"}, MODEL, "has precision none, not bf16"),
        ("model", {}, {**MODEL, "hash": "9"}, r"has model demo \(0123\), not demo \(9\)"),
    ):
        with pytest.raises(AtsError, match=said):
            merge_runs([first, made(tmp_path / name, "z", settings=settings, model=model)], tmp_path / "all", {})
    with pytest.raises(AtsError, match=r"slide a is in .*1 too"):
        merge_runs([first, made(tmp_path / "2", "a")], tmp_path / "all", {})
    with pytest.raises(AtsError, match="no run here"):
        merge_runs([first, tmp_path / "nowhere"], tmp_path / "all", {})
    with pytest.raises(AtsError, match="to be read and written"):
        merge_runs([first], first, {}, overwrite=True)
    assert not (tmp_path / "all").exists()
