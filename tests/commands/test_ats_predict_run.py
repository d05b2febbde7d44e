"""`ats predict -o RUN`: a run that is kept, gone on with, extended."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import damage, noise, write_slide

from ats_cli.slides import Slide

Run = Callable[..., tuple[int, str, str]]


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def everything(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def tiles_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tiles each call of `Slide.scan_tiles` asked for."""
    read: list[int] = []
    honest = Slide.scan_tiles

    def counted(self: Slide, boxes: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        read.append(len(np.asarray(boxes)))
        return honest(self, boxes, *arguments, **options)

    monkeypatch.setattr(Slide, "scan_tiles", counted)
    return read


def test_a_run_is_written_and_printed_as_without(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    status, out, _ = ats("predict", slides, "-m", model, "-o", run, "--json")
    assert status == 1
    for record in lines(out):
        assert json.loads((run / "slides" / record["slide_id"] / "prediction.json").read_text()) == record
    assert [row["slide_id"] for row in rows(run)] == ["broken", "one", "two [x]"]
    assert [row["status"] for row in rows(run)] == ["failed", "ok", "ok"]
    assert list(rows(run)[0]) == [
        "slide_id", "path", "status", "predicted", "prob_light", "prob_dark", "se_light", "se_dark", "se_kind",
        "tiles", "positions", "attention_mass", "effective_positions", "effective_tiles", "low_light", "low_dark",
        "high_light", "high_dark", "tiles_unreadable", "bytes_read", "seconds", "mpp", "mpp_source", "precision",
        "unfamiliar", "unfamiliar_score", "error",
    ]  # fmt: skip
    without = lines(ats("predict", slides, "-m", model, "--json")[1])
    assert [line["logits"] for line in without] == [line["logits"] for line in lines(out)]
    assert [hidden.name for hidden in run.rglob(".*")] == [".lock"]


def test_tiles_csv_explains_the_logits(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    from ats_cli.zoo import load_model

    _, out, _ = ats("predict", slides / "one.png", "-m", model, "-o", tmp_path / "run", "-n", 9, "--json")
    with (tmp_path / "run/slides/one/tiles.csv").open(newline="") as file:
        tiles = list(csv.DictReader(file, strict=True))
    assert len(tiles) == 9
    bias = load_model(model).nets.head.bias.tolist()
    for name, b in zip(("light", "dark"), bias, strict=True):
        shares = sum(float(tile[f"share_{name}"]) for tile in tiles)
        assert shares == pytest.approx(lines(out)[0]["logits"][name] - b, abs=1e-9)


@pytest.mark.integration
def test_what_is_done_is_shown_from_its_record(
    ats: Run, model: Path, slides: Path, tmp_path: Path, tiles_read: list[int]
) -> None:
    call = ("predict", slides, "-m", model, "-o", tmp_path / "run", "--json")
    first = ats(*call)
    assert sum(tiles_read) == 8
    before = everything(tmp_path / "run")
    status, out, err = ats(*call)
    assert (status, out) == first[:2]
    assert "3 of 3 slides are in " in err
    assert sum(tiles_read) == 8
    assert everything(tmp_path / "run") == before
    table = ats(*call[:-1])[1]
    assert "two [x]" in table and "broken.svs: " in table


@pytest.mark.integration
def test_failed_slides_are_taken_again_when_asked(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    (slides / "broken.svs").unlink()
    damage(write_slide(slides / "damaged.tif", noise(200, 200)), 0, 1, 4, 5)
    call = ("predict", slides, "-m", model, "-o", tmp_path / "run")
    assert ats(*call)[0] == 1
    easier = (*call, "--max-unreadable", 1)
    assert ats(*easier)[0] == 1
    assert ats(*easier, "--retry-failed")[0] == 0
    assert [row["status"] for row in rows(tmp_path / "run")] == ["ok", "ok", "ok"]


@pytest.mark.integration
def test_other_settings_are_refused(ats: Run, model: Path, micron_model: Path, slides: Path, tmp_path: Path) -> None:
    call = ("predict", slides / "one.png", "-o", tmp_path / "run")
    assert ats(*call, "-m", model, "--tiles", 5)[0] == 0
    before = everything(tmp_path / "run")
    for options, named in {
        ("-m", model, "--tiles", 6): "tiles 5, not 6.",
        ("-m", model, "--tiles", 5, "--seed", 1): "seed 0, not 1.",
        ("-m", model, "--tiles", 5, "--adaptive"): "sampler pivotal, not murthy; confidence none, not 0.95.",
        ("-m", model, "--exhaustive"): "tiles 5, not none; sampler pivotal, not exhaustive.",
        ("-m", micron_model, "--tiles", 5): "model tiny (",
    }.items():
        status, out, err = ats(*call, *options, "--quiet")
        assert (status, out) == (2, "")
        assert named in err
        assert len(err.splitlines()) == 1
    assert everything(tmp_path / "run") == before
    assert ats(*call, "-m", model, "--tiles", 6, "--overwrite")[0] == 0
    assert [row["tiles"] for row in rows(tmp_path / "run")] == ["6"]


def test_killed_between_slides_it_keeps_whole_rows_and_goes_on(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ats_cli.inference.executors.predict_task import predict_slide

    def killed(slide: Any, *arguments: Any, **options: Any) -> Any:
        if slide.path.name.startswith("two"):
            raise KeyboardInterrupt
        return predict_slide(slide, *arguments, **options)

    (slides / "broken.svs").unlink()
    call = ("predict", slides, "-m", model, "-o", tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr("ats_cli.inference.executors.predict_task.predict_slide", killed)
        status, out, err = ats(*call)
    assert status == 130
    assert "one" in out
    assert "the same call continues the run" in err
    assert [row["slide_id"] for row in rows(tmp_path / "run")] == ["one"]
    assert json.loads((tmp_path / "run/run.json").read_text())["counts"] == {"slides": 2, "ok": 1, "failed": 0}
    assert ats(*call)[0] == 0
    assert [row["slide_id"] for row in rows(tmp_path / "run")] == ["one", "two [x]"]


def test_a_pipe_that_closes_leaves_the_run_as_it_is(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError

    (slides / "broken.svs").unlink()
    monkeypatch.setattr("ats_cli.commands.common.prediction_output.answer", closed)
    status, out, err = ats("predict", slides, "-m", model, "-o", tmp_path / "run", "--json", "--quiet")
    assert (status, out, err) == (1, "", "")
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["counts"] == {"slides": 2, "ok": 1, "failed": 0} and run["ended"]
    assert [row["slide_id"] for row in rows(tmp_path / "run")] == ["one"]


def test_a_full_disk_is_one_sentence(
    ats: Run, model: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    status, _, err = ats("predict", slides / "one.png", "-m", model, "-o", tmp_path / "run", "--quiet")
    assert status == 1
    assert "no space left" in err and "run.json" in err
    assert len(err.splitlines()) == 1


@pytest.mark.integration
def test_twenty_tiles_extended_to_eighty_are_eighty(
    ats: Run, model: Path, slides: Path, tmp_path: Path, tiles_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (slides / "broken.svs").unlink()
    how = ("-m", model, "--sampler", "murthy", "--seed", 3, "--json")
    ats("predict", slides, *how, "-o", tmp_path / "run", "--tiles", 20)
    ats("predict", slides, *how, "-o", tmp_path / "fresh", "--tiles", 80)
    tiles_read.clear()
    monkeypatch.chdir(tmp_path)
    status, out, err = ats("predict", "-o", "run", "--extend", "--tiles", 80, "--json")
    assert status == 0, err
    assert sum(tiles_read) == 2 * 60
    fresh = [
        json.loads((tmp_path / "fresh/slides" / name / "prediction.json").read_text()) for name in ("one", "two [x]")
    ]
    for extended, at_once in zip(lines(out), fresh, strict=True):
        for name in ("logits", "probabilities", "se", "logits_se"):
            assert extended[name] == pytest.approx(at_once[name], abs=1e-6)
        for name in ("slide_id", "tiles", "sampler", "seed", "se_kind", "attention_mass", "model"):
            assert extended[name] == at_once[name]
        with np.load(tmp_path / "run/slides" / extended["slide_id"] / "draw.npz") as draw:
            assert len(draw["positions"]) == extended["tiles"] == 80
    assert [row["tiles"] for row in rows(tmp_path / "run")] == ["80", "80"]
    assert json.loads((tmp_path / "run/run.json").read_text())["settings"]["tiles"] == 80

    tiles_read.clear()
    assert ats("predict", slides, *how, "-o", tmp_path / "run", "--tiles", 80)[0] == 0
    status, _, err = ats("predict", slides, "-o", tmp_path / "run", "--extend", "--tiles", 50)
    assert (status, tiles_read) == (2, [])
    assert "has 80 tiles a slide already" in err


def test_only_a_race_can_be_extended(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ats("predict", slides / "one.png", "-m", model, "-o", run)
    before = everything(run)
    for options in ((), ("--sampler", "murthy")):
        status, _, err = ats("predict", "-o", run, "--extend", "--tiles", 80, *options)
        assert status == 2
        assert "drawn with pivotal, and only a murthy run can be extended" in err
    assert everything(run) == before


def test_calls_that_make_no_sense(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    for options, said in {
        ("--extend", "--tiles", 8): "--extend is about a run folder",
        ("--overwrite",): "--overwrite is about a run folder",
        ("-o", tmp_path / "new", "--extend"): "Give --tiles",
        ("-o", tmp_path / "new", "--extend", "--tiles", 8): "no run here to extend",
        ("-o", tmp_path / "new", "--extend", "--overwrite", "--tiles", 8): "Leave one of them out",
        ("-o", slides): "holds other things than a run",
        ("-o", slides / "notes.txt"): "is a file",
    }.items():
        status, out, err = ats("predict", slides / "one.png", "-m", model, *options, "--quiet")
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert said in err
    assert not (tmp_path / "new").exists()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["...png", "..png", "tiles.csv.png", "prediction.json.png"])
def test_a_file_name_that_would_lead_out_of_the_run_stays_in_it(
    ats: Run, model: Path, slides: Path, tmp_path: Path, name: str
) -> None:
    odd = (slides / "one.png").replace(slides / name)
    assert ats("predict", odd, "-m", model, "-o", tmp_path / "run", "--quiet")[0] == 0
    assert (tmp_path / "run/slides" / name / "prediction.json").is_file()
    assert [row["slide_id"] for row in rows(tmp_path / "run")] == [name]


def test_stems_that_collide_are_folders(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    for site in ("east", "west"):
        (slides / site).mkdir()
        (slides / site / "same.png").write_bytes((slides / "one.png").read_bytes())
    assert ats("predict", slides / "east", slides / "west", "-m", model, "-o", tmp_path / "run")[0] == 0
    assert (tmp_path / "run/slides/east/same/tiles.csv").is_file()
    assert [row["slide_id"] for row in rows(tmp_path / "run")] == ["east/same", "west/same"]


@pytest.mark.integration
def test_an_adaptive_run_says_why_it_stopped(ats: Run, model: Path, slides: Path, tmp_path: Path) -> None:
    call = ("predict", slides / "one.png", "-m", model, "--adaptive", "-o", tmp_path / "run")
    assert "budget reached" in ats(*call, "--tiles", 2)[1]
    assert "budget reached" in ats(*call, "--tiles", 2)[1], "from its record too"
    assert "stopped" not in ats("predict", slides / "one.png", "-m", model)[1]
    status, out, _ = ats("predict", "-o", tmp_path / "run", "--extend", "--tiles", 1000)
    assert status == 0
    assert "settled" in out or "budget reached" in out
