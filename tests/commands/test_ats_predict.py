"""`ats predict`, from the command line to what is on stdout and stderr."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_good_slides(ats: Run, model: Path, slides: Path) -> None:
    status, out, err = ats("predict", slides / "one.png", slides / "two [x].png", "-m", model, "--json")
    assert status == 0
    one, two = lines(out)
    assert (one["slide_id"], two["slide_id"]) == ("one", "two [x]")
    assert one["status"] == two["status"] == "ok"
    assert one["predicted"] in ("light", "dark")
    assert sum(one["probabilities"].values()) == pytest.approx(1)
    assert one["tiles"] == 4
    assert one["model"]["name"] == "tiny"
    assert err == "ats: This model knows nothing.\n"


def test_a_bad_slide_does_not_stop_the_others(ats: Run, model: Path, slides: Path) -> None:
    status, out, err = ats("predict", slides, "-m", model, "--json", "--quiet")
    assert status == 1
    assert {line["slide_id"]: line["status"] for line in lines(out)} == {
        "broken": "failed",
        "one": "ok",
        "two [x]": "ok",
    }
    assert "ats: broken.svs: " in err
    assert "1 of 3 slides failed" in err
    assert "Traceback" not in err


def test_the_table(ats: Run, model: Path, slides: Path) -> None:
    status, out, _ = ats("predict", slides, "-m", model)
    assert status == 1
    assert "two [x]" in out
    assert "4 of " in out
    assert "broken.svs: " in out
    assert "\x1b" not in out
    assert "…" not in out


def test_the_budget_sampler_and_seed(ats: Run, model: Path, slides: Path) -> None:
    arguments = ("predict", slides / "one.png", "-m", model, "--json", "-n", 7, "--sampler", "with-replacement")
    first, again, other = (lines(ats(*arguments, "--seed", seed)[1])[0] for seed in (1, 1, 2))
    assert first["sampler"] == "with-replacement"
    assert first["seed"] == 1
    assert 1 <= first["tiles"] <= 7
    assert first["logits"] == again["logits"] != other["logits"]


def test_without_a_model_it_says_which_one(
    ats: Run, model: Path, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATS_MODEL", str(model))
    status, _, err = ats("predict", slides / "one.png")
    assert status == 0
    assert "ats: model tiny: " in err
    assert "ATS_MODEL" in err
    assert ats("predict", slides / "one.png", "--quiet")[2] == ""


def test_a_manifest_with_its_own_mpp(ats: Run, micron_model: Path, slides: Path) -> None:
    manifest = slides / "table.csv"
    manifest.write_text("slide,mpp\none.png,0.5\ntwo [x].png,\nmissing.png,0.5\n")
    status, out, err = ats("predict", "--manifest", manifest, "-m", micron_model, "--json")
    one, two, missing = lines(out)
    assert status == 1
    assert (one["status"], one["mpp"]) == ("ok", 0.5)
    assert two["status"] == missing["status"] == "failed"
    assert "--mpp" in two["error"]
    assert "missing.png" in err
    status, out, _ = ats("predict", "--manifest", manifest, "-m", micron_model, "--json", "--mpp", 1)
    assert [line["mpp"] for line in lines(out)] == [0.5, 1.0, None]


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "SLIDES", "-m", "no-such-model"],
        ["predict", "SLIDES/no-such.svs", "-m", "MODEL"],
        ["predict", "SLIDES/*.nothing", "-m", "MODEL"],
        ["predict", "-m", "MODEL"],
        ["predict", "SLIDES", "--manifest", "SLIDES/table.csv", "-m", "MODEL"],
        ["predict", "--manifest", "SLIDES/no-such.csv", "-m", "MODEL"],
        ["predict", "SLIDES", "-m", "MODEL", "--device", "abacus"],
        ["predict", "SLIDES", "-m", "MODEL", "--tiles", "0"],
        ["predict", "SLIDES", "-m", "MODEL", "--sampler", "dice"],
        ["predict", "SLIDES", "-m", "MODEL", "--mpp", "nan"],
        ["predict", "SLIDES", "-m", "MODEL", "--no-such-option"],
        ["predct"],
    ],
)
def test_a_wrong_call_is_2_and_says_why(ats: Run, model: Path, slides: Path, arguments: list[str]) -> None:
    words = [word.replace("SLIDES", str(slides)).replace("MODEL", str(model)) for word in arguments]
    status, out, err = ats(*words)
    assert status == 2
    assert out == ""
    assert err
    assert "Traceback" not in err


def test_what_was_not_foreseen_is_a_sentence_and_with_debug_a_traceback(
    ats: Run, model: Path, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("ats_cli.inference.executors.in_process.predict_task", broken)
    status, _, err = ats("predict", slides / "one.png", "-m", model, "--quiet")
    assert status == 1
    assert "--debug" in err
    assert len(err.splitlines()) == 1
    assert "Traceback" in ats("predict", slides / "one.png", "-m", model, "--debug")[2]


def test_an_interrupted_run_keeps_what_is_done(
    ats: Run, model: Path, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ats_cli.inference.executors.predict_task import predict_task

    def stopped(job: Any, *arguments: Any) -> Any:
        if job.source.slide_id == "two [x]":
            raise KeyboardInterrupt
        return predict_task(job, *arguments)

    (slides / "broken.svs").unlink()
    monkeypatch.setattr("ats_cli.inference.executors.in_process.predict_task", stopped)
    status, out, err = ats("predict", slides, "-m", model)
    assert status == 130
    assert "one" in out
    assert "interrupted after 1 of 2 slides" in err
    assert "Traceback" not in err


@pytest.mark.integration
def test_a_closed_pipe_ends_quietly(ats_command: list[str], model: Path, slides: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*ats_command, "predict", str(slides / "one.png"), "-m", str(model), "--json", "--quiet"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in (1, -signal.SIGPIPE)


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence(ats_command: list[str], model: Path, slides: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [*ats_command, "predict", str(slides / "one.png"), "-m", str(model), "--quiet"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1
