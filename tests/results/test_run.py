"""The run folder: files whole or not there, ids that stay inside, settings that must not change."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ats_cli.errors import AtsError, without_secrets
from ats_cli.prediction_parts import Cost, ModelName, Provenance, Sampling
from ats_cli.records import Prediction, TilesRead
from ats_cli.results.record import prediction_dict, prediction_from
from ats_cli.results.run import folder
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.provenance import facts
from ats_cli.results.run.request import RunRequest
from ats_cli.results.run.run_file import RunSlide
from ats_cli.results.run.slide_files import slide_folder
from ats_cli.results.writers.draw_npz import read_draw
from ats_cli.results.writers.tiles_csv import tile_rows

CLASSES = ("tumour, solid", "normal")
SETTINGS = {
    "tiles": 3,
    "sampler": "murthy",
    "confidence": None,
    "seed": 0,
    "backend": None,
    "plane": None,
    "color_profile": "none",
}
MODEL = {"name": "demo", "hash": "0123", "folder": "/models/demo"}
KEPT = TilesRead(
    positions=np.array([5, 0, 7]),
    attention=np.array([0.3, 0.1, 0.2]),
    weights=np.array([0.5, 0.2, 0.3]),
    draws=np.array([1, 1, 1]),
    boxes=np.array([[0, 0, 64, 64], [10.25, 3, 64, 64], [-1.0, 1 / 3, 64, 64]]),
    terms=np.array([[1.0, -2.0], [0.5, 0.25], [3.0, 0.0]]),
    readable=np.ones(3, bool),
    bias=np.array([0.1, -0.1]),
    grid=(3, 4),
    log_z=2.5,
)
GOOD = Prediction(
    slide_id="a",
    path="slides/a.svs",
    status="ok",
    predicted="normal",
    classes=CLASSES,
    probabilities=(0.25, 0.75),
    se=(0.01, 0.01),
    logits=tuple((KEPT.weights @ KEPT.terms + KEPT.bias).tolist()),
    logits_se=(0.1, float("nan")),
    se_kind="unbiased",
    sampling=Sampling(tiles=3, positions=12, attention_mass=0.6, effective_positions=4.5, sampler="murthy", seed=0),
    cost=Cost(bytes_read=1000, bytes_total=9000, seconds={"open": 0.1, "total": 1.5}),
    provenance=Provenance(mpp=0.25, mpp_source="given", reader="tiff", precision="fp32"),
    model=ModelName("demo", "0123"),
    tile_arrays=KEPT,
)
BAD = Prediction("b", "slides/b.svs", "failed", 'b.svs: "broken", it seems.', classes=CLASSES)

COLUMNS = [
    "slide_id", "path", "status", "predicted", "prob_tumour, solid", "prob_normal", "se_tumour, solid", "se_normal",
    "se_kind", "tiles", "positions", "attention_mass", "effective_positions", "effective_tiles", "low_tumour, solid",
    "low_normal", "high_tumour, solid", "high_normal", "tiles_unreadable", "bytes_read", "seconds", "mpp", "mpp_source",
    "precision", "unfamiliar", "unfamiliar_score", "error",
]  # fmt: skip


def slides(*ids: str) -> list[RunSlide]:
    return [RunSlide(name, f"/data/{name}.svs") for name in ids]


def begin(path: Path, *ids: str, settings: dict[str, Any] | None = None, **how: Any) -> RunFolder:
    run = RunFolder(path)
    run.begin(
        RunRequest(slides(*ids), SETTINGS | (settings or {}), how.pop("model", MODEL), CLASSES, {"ats": "1"}), **how
    )
    return run


def table(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def everything(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.rglob("*") if f.is_file()}


def test_a_record_read_again_is_the_same() -> None:
    for prediction in (GOOD, BAD):
        record = json.loads(json.dumps(prediction_dict(prediction)))
        assert prediction_dict(prediction_from(record)) == record


def test_the_files_of_a_run(tmp_path: Path) -> None:
    run = begin(tmp_path / "new" / "run", "a", "b")
    run.add(GOOD)
    run.add(BAD)
    run.end()
    path = run.path
    assert sorted(str(f.relative_to(path)) for f in path.rglob("[!.]*") if f.is_file()) == [
        "predictions.csv",
        "run.json",
        "slides/a/draw.npz",
        "slides/a/prediction.json",
        "slides/a/tiles.csv",
        "slides/b/prediction.json",
    ]
    good, bad = table(path)
    assert list(good) == COLUMNS
    assert (good["slide_id"], good["status"], good["prob_tumour, solid"], good["seconds"]) == ("a", "ok", "0.25", "1.5")
    assert good["tiles_unreadable"] == good["error"] == bad["tiles"] == bad["prob_normal"] == ""
    assert bad["error"] == BAD.error
    whole = json.loads((path / "run.json").read_text())
    assert (whole["schema_version"], whole["settings"], whole["model"]) == (1, SETTINGS, MODEL)
    assert whole["counts"] == {"slides": 2, "ok": 1, "failed": 1}
    assert whole["started"] <= whole["ended"]
    record = json.loads((path / "slides/a/prediction.json").read_text())
    assert record == prediction_dict(GOOD)
    assert record["schema_version"] == 1


def test_shares_in_tiles_csv_sum_to_logits_without_bias(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", "a")
    run.add(GOOD)
    with (run.path / "slides/a/tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    of_class = [f"{what}_{name}" for what in ("prob", "share") for name in CLASSES]
    assert list(rows[0]) == [
        "minx", "miny", "width", "height", *of_class[:2], "attention", "weight", "draws", "gate", *of_class[2:]
    ]  # fmt: skip
    shares = np.array([[float(row[f"share_{name}"]) for name in CLASSES] for row in rows])
    np.testing.assert_allclose(shares.sum(0), np.array(GOOD.logits) - KEPT.bias, rtol=0, atol=1e-12)
    own = np.array([[float(row[f"prob_{name}"]) for name in CLASSES] for row in rows])
    odds = (KEPT.terms + KEPT.bias) @ [1, -1]
    np.testing.assert_allclose(own[:, 0], 1 / (1 + np.exp(-odds)))
    assert [row["minx"] for row in rows] == ["0", "10.25", "-1"]


def test_the_draw_read_again_is_the_same(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", "a")
    for kept in (KEPT, replace(KEPT, log_z=None)):
        run.add(replace(GOOD, tile_arrays=kept))
        again = run.before("a")
        assert again is not None
        assert (again.grid, again.log_z) == (kept.grid, kept.log_z)
        assert tile_rows(CLASSES, again) == tile_rows(CLASSES, kept)
        assert again.positions.tolist() == kept.positions.tolist()
    (run.path / "slides/a/draw.npz").write_bytes(b"half of")
    assert run.before("a") is None
    assert read_draw(tmp_path) is None


def test_the_table_keeps_the_order_of_the_slides(tmp_path: Path) -> None:
    run = begin(tmp_path, "a", "b", "c")
    for name in "cab":
        run.add(replace(GOOD, slide_id=name))
    run.end()
    assert [row["slide_id"] for row in table(tmp_path)] == ["a", "b", "c"]
    more = begin(tmp_path, "d", "a")
    more.add(replace(GOOD, slide_id="d"))
    more.end()
    assert [row["slide_id"] for row in table(tmp_path)] == ["a", "b", "c", "d"]


def test_what_is_done_is_not_done_again_and_nothing_is_written(tmp_path: Path) -> None:
    run = begin(tmp_path, "a", "b")
    run.add(GOOD)
    run.add(BAD)
    run.end()
    before = everything(tmp_path)
    again = RunFolder(tmp_path)
    kept = again.begin(RunRequest(slides("a", "b"), SETTINGS, MODEL, CLASSES, {}))
    again.end()
    assert {name: p.status for name, p in kept.items()} == {"a": "ok", "b": "failed"}
    assert kept["a"].probabilities == GOOD.probabilities
    assert everything(tmp_path) == before
    failed_again = RunFolder(tmp_path).begin(
        RunRequest(slides("a", "b"), SETTINGS, MODEL, CLASSES, {}), retry_failed=True
    )
    assert set(failed_again) == {"a"}


def test_a_run_killed_at_any_time_has_a_table_of_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path, "a", "b", "c")
    assert table(tmp_path) == []
    monkeypatch.setattr(folder, "TABLE_QUICK", math.inf)  # however slow this disk is
    run.add(GOOD)
    del run  # no end
    assert [row["slide_id"] for row in table(tmp_path)] == ["a"]
    assert json.loads((tmp_path / "run.json").read_text())["ended"] is None
    (tmp_path / "slides/b").mkdir()
    (tmp_path / "slides/b/prediction.json").write_text('{"slide_')
    assert set(RunFolder(tmp_path).begin(RunRequest(slides("a", "b", "c"), SETTINGS, MODEL, CLASSES, {}))) == {"a"}


def test_with_thousands_of_slides_the_table_is_not_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "TABLE_QUICK", math.inf)  # however slow this disk is
    run = begin(tmp_path, *map(str, range(50)))
    run.add(replace(BAD, slide_id="0"))
    assert len(table(tmp_path)) == 1
    monkeypatch.setattr(folder, "TABLE_QUICK", 0.0)  # however fast this disk is
    monkeypatch.setattr(folder, "TABLE_SHARE", 0.0)
    for i in range(1, 50):
        run.add(replace(BAD, slide_id=str(i)))
    assert len(table(tmp_path)) == 1
    run.end()
    assert len(table(tmp_path)) == 50


@pytest.mark.parametrize(
    ("settings", "model", "named"),
    [
        ({"tiles": 4}, MODEL, ["tiles 3, not 4"]),
        ({"seed": 7, "confidence": 0.9}, MODEL, ["seed 0, not 7", "confidence none, not 0.9"]),
        ({}, MODEL | {"hash": "4567"}, ["model demo (0123), not demo (4567)"]),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], model: dict[str, str], named: list[str]
) -> None:
    run = begin(tmp_path, "a")
    run.add(GOOD)
    run.end()
    before = everything(tmp_path)
    with pytest.raises(AtsError) as refused:
        begin(tmp_path, "a", settings=settings, model=model)
    assert all(name in str(refused.value) for name in named)
    assert everything(tmp_path) == before
    begin(tmp_path, "a", settings=settings, model=model, overwrite=True)
    assert table(tmp_path) == []
    assert not (tmp_path / "slides" / "a").exists()


def test_another_file_under_the_id_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "a.svs"
    moved.write_bytes(b"." * 9000)
    run = begin(tmp_path / "run", "a", "b")
    run.add(GOOD)
    run.add(BAD)
    run.end()

    def again(*slides: RunSlide) -> Any:
        return RunFolder(run.path).begin(RunRequest(slides, SETTINGS, MODEL, CLASSES, {}))

    with pytest.raises(AtsError, match=r"slide a of this run is /data/a\.svs"):
        again(RunSlide("a", "/other/a.svs"))
    with pytest.raises(AtsError, match="is a in this run, not data/a"):
        again(RunSlide("data/a", "/data/a.svs"))
    with pytest.raises(AtsError, match=r"slide a was read with mpp none, not 0\.5"):
        again(RunSlide("a", "/data/a.svs", 0.5))
    assert "a" in again(RunSlide("a", str(moved))), "moved: the same name and size"
    assert "b" in again(RunSlide("b", "/data/b.svs", 0.5)), "nothing was read of it"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/x", "", ".", "a//b", "a/./b", "a/prediction.json"])
def test_an_id_that_leads_out_of_the_run_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AtsError, match=r"cannot name a folder inside the run\. Rename"):
        slide_folder(tmp_path, name)
    with pytest.raises(AtsError):
        begin(tmp_path / "run", "a", name)
    assert not (tmp_path / "run").exists()


def test_ids_with_folders_are_folders(tmp_path: Path) -> None:
    assert slide_folder(tmp_path, "site 1/x [y]") == tmp_path / "site 1" / "x [y]"
    run = begin(tmp_path / "run", "a", "a/b")
    run.add(GOOD)
    run.add(replace(GOOD, slide_id="a/b"))
    run.end()
    assert [row["slide_id"] for row in table(run.path)] == ["a", "a/b"]
    begin(run.path, "z", overwrite=True)
    assert not any((run.path / "slides").iterdir())


def test_two_runs_on_one_folder_at_once_are_one_too_many(tmp_path: Path) -> None:
    run = begin(tmp_path, "a", "b")
    run.add(GOOD)
    before = everything(tmp_path)
    with pytest.raises(AtsError, match=rf"process {os.getpid()} on \S+ is writing this run\. Wait until it has ended"):
        begin(tmp_path, "a", "b")
    with pytest.raises(AtsError, match="is writing this run"):
        begin(tmp_path, "z", overwrite=True)
    assert everything(tmp_path) == before
    run.end()
    assert set(RunFolder(tmp_path).begin(RunRequest(slides("a", "b"), SETTINGS, MODEL, CLASSES, {}))) == {"a"}


@pytest.mark.integration
def test_the_lock_of_a_killed_process_holds_no_one_up(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from ats_cli.results.run import folder
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.run_file import RunSlide
from ats_cli.results.run.request import RunRequest
run = RunFolder(Path({str(tmp_path / "run")!r}))
run.begin(RunRequest([RunSlide("a", "/data/a.svs")], {SETTINGS!r}, {MODEL!r}, {CLASSES!r}, {{}}))
(run.path / "slides" / "a").mkdir(parents=True)
(run.path / "slides" / "a" / f".draw.npz.{{os.getpid()}}.part").write_bytes(b"half of it")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    run = begin(tmp_path / "run", "a")
    assert not list(run.path.rglob("*.part"))
    run.add(GOOD)
    run.end()
    assert [row["slide_id"] for row in table(run.path)] == ["a"]


def test_overwrite_deletes_nothing_of_others(tmp_path: Path) -> None:
    run = begin(tmp_path, "a")
    run.add(GOOD)
    note = tmp_path / "slides" / "a" / "note.txt"
    note.write_text("mine")
    run.end()
    begin(tmp_path, "a", overwrite=True)
    assert [f.name for f in note.parent.iterdir()] == ["note.txt"]


def test_a_folder_with_other_things_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(AtsError, match="other things than a run"):
        begin(tmp_path, "a", overwrite=True)
    with pytest.raises(AtsError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex")
    for content in ("{", "[]", "{}", '{"schema_version": 99, "settings": {}, "model": {}, "slides": []}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(AtsError, match="not a run that this ats can read"):
            RunFolder(tmp_path)


def test_a_full_disk_leaves_a_slide_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path, "a")
    run.add(GOOD)
    run.end()
    before = everything(tmp_path)
    honest = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if "prediction" in self.name:
            honest(self, content[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        return honest(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError) as caught:
        run.add(replace(GOOD, sampling=replace(GOOD.sampling, tiles=12), tile_arrays=replace(KEPT, log_z=1.0)))
    assert str(caught.value.filename).endswith("slides/a/prediction.json")
    assert everything(tmp_path) == before


def test_extending_takes_short_slides_up_again_and_a_failure_keeps_them(tmp_path: Path) -> None:
    run = begin(tmp_path, "a", "b", "c", "d")
    run.add(GOOD)
    run.add(BAD)
    run.add(replace(GOOD, slide_id="c", sampling=replace(GOOD.sampling, settled=True)))
    run.add(replace(GOOD, slide_id="d", sampling=replace(GOOD.sampling, positions=3)))
    run.end()
    longer = RunFolder(tmp_path)
    kept = longer.begin(
        RunRequest(slides("a", "b", "c", "d"), SETTINGS | {"tiles": 8}, MODEL, CLASSES, {}), extend=True
    )
    assert set(kept) == {"b", "c", "d"}
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["tiles"] == 8
    before = everything(tmp_path / "slides")
    longer.add(replace(BAD, slide_id="a"))
    assert everything(tmp_path / "slides") == before
    # Killed or failed on the way, it is short still; the same call without --extend goes on.
    del longer
    goes_on = RunFolder(tmp_path)
    assert set(goes_on.begin(RunRequest(slides("a"), SETTINGS | {"tiles": 8}, MODEL, CLASSES, {}))) == {"b", "c", "d"}
    assert goes_on.before("a") is not None
    assert goes_on.before("b") is None
    del goes_on
    with pytest.raises(AtsError, match="8 tiles a slide already, more than 5"):
        begin(tmp_path, "a", settings={"tiles": 5}, extend=True)


def test_no_secret_of_the_call_is_kept() -> None:
    url = "s3://key:secret@bucket/a.svs?X-Amz-Signature=secret#secret"
    assert without_secrets(url) == "s3://bucket/a.svs"
    assert without_secrets(f"--manifest={url}") == "--manifest=s3://bucket/a.svs"
    assert without_secrets("a=b.svs") == "a=b.svs"
    said = facts(["predict", url, "my slide.svs"], "cpu")
    assert said["command"] == "ats predict s3://bucket/a.svs 'my slide.svs'"
    assert "secret" not in json.dumps(said)
    assert {"python", "torch", "numpy"} <= said["libraries"].keys()
