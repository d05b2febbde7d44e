"""How far a run is: what a person sees, what a log has, what is said in the end."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ats_cli.commands.common.pace import Pace
from ats_cli.commands.common.progress import FIRST_LINE, LogLines
from ats_cli.commands.common.progress_display import render
from ats_cli.inference.runs.signals import delayed_signals
from ats_cli.prediction_parts import Cost, Sampling
from ats_cli.records import Prediction

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
GOOD = Prediction("a", "a.svs", "ok", sampling=Sampling(tiles=100), cost=Cost(bytes_read=5_000_000))
BAD = Prediction("b", "b.svs", "failed", "b.svs: broken.", "unreadable")


def pace_after(*predictions: Prediction, total: int = 10, earlier: int = 0) -> Pace:
    pace = Pace(total, started=100.0)
    for i, p in enumerate(predictions):
        pace.add(replace(p, slide_id=str(i)), is_new=i >= earlier)
    return pace


def test_what_was_done_before_is_no_speed() -> None:
    pace = pace_after(GOOD, GOOD, GOOD, BAD, earlier=2)
    assert pace.counts() == "4 of 10 slides, 1 failed, 6 left"
    assert pace.speed(104.0) == "2.0 s/slide, 25 tiles/s, 1.2 MB/s"
    assert pace.times(104.0) == "0:00:04, 0:00:12 to go"
    assert pace_after(earlier=0).speed(104.0) == ""


def test_the_display_fits_a_screen_and_says_what_each_worker_is_at() -> None:
    pace = pace_after(GOOD, BAD)
    pace.on_progress("slide-two", 38, 100)
    file = io.StringIO()
    at = [("a-very-long-name-" * 9, 3.2), ("slide-two", 12.0), *((f"w{i}", 0.0) for i in range(9))]
    Console(file=file, width=80).print(render(pace, 104.0, at))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "2 of 10 slides, 1 failed, 8 left" in lines[0]
    assert lines[2].split()[-3:] == ["attention", "3", "s"]
    assert lines[3].split() == ["slide-two", "38", "of", "100", "tiles", "12", "s"]
    assert lines[-1].strip() == "and 3 more"


def test_a_log_has_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    pace = pace_after(GOOD, total=5000)
    lines = LogLines(pace)
    for second in range(8 * 3600):
        lines(100.0 + second)
        if second < FIRST_LINE:
            assert not capsys.readouterr().err, "a short run says nothing"
    said = capsys.readouterr().err.splitlines()
    assert 50 < len(said) < 150
    assert (
        said[0]
        == "ats: 1 of 5000 slides, 4999 left; 60.0 s/slide, 2 tiles/s, 0.1 MB/s, 0:01:00, 3 days, 11:19:00 to go."
    )


def test_several_failures_are_summed_up_by_kind(ats: Run, model: Path, slides: Path) -> None:
    for i in range(4):
        (slides / f"none{i}.svs").write_bytes(b"no slide at all")
    status, _, err = ats("predict", slides, "-m", model)
    assert status == 1
    (row,) = [line for line in err.splitlines() if line.split()[1:2] == ["unreadable"]]
    assert row.split()[0] == "5" and "broken, none0, none1 and 2 more" in row and "Copy the files again" in row
    assert "unreadable" not in ats("predict", slides, "-m", model, "--quiet")[2]
    assert "\x1b" not in err


def test_on_a_terminal_there_is_a_display_and_it_is_gone_in_the_end(
    model: Path, slides: Path, ats_command: list[str]
) -> None:
    ours, theirs = pty.openpty()
    call = [*ats_command, "predict", str(slides), "-m", str(model), "--json"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while some := os.read(ours, 4096):
            shown += some
    except OSError:  # a terminal whose other end is closed
        pass
    out, _ = process.communicate()
    assert process.returncode == 1
    assert len(out.splitlines()) == 3 and b"\x1b" not in out
    assert b"of 3 slides" in shown and b"broken.svs" in shown
    assert re.search(rb"3 slides in \d+:\d\d:\d\d", shown)


def test_an_interrupt_waits_for_what_belongs_together() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), delayed_signals():
        signal.raise_signal(signal.SIGINT)
        done.append("written")
        done.append("counted")
    assert done == ["written", "counted"]
    with pytest.raises(KeyboardInterrupt), delayed_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        done.append("never: who asks twice is heard at once")
    assert len(done) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
