"""Looks at slides in a process of its own, within limits, and says how each look ended."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

SECONDS, MEGABYTES = 10.0, 1024
_WAITS = 12


@dataclass(frozen=True)
class Look:
    """How the look at one file ended. `seconds` it took, `megabytes` of memory that it came to beyond what a process
    has that has looked at nothing."""

    path: Path
    end: Literal["result", "sentence", "unforeseen", "too slow", "too large", "died"]
    said: str
    seconds: float
    megabytes: float


def looks(
    paths: Iterable[Path],
    seconds: float = SECONDS,
    megabytes: float = MEGABYTES,
    how: Literal["predict", "exec"] = "predict",
) -> Iterator[Look]:
    """One look after the other, each within `seconds` and `megabytes`. A fresh process follows one that dies or that
    takes too long.

    `seconds`: of the processor's time, so that a busy machine changes no result; a look that waits is ended after
    `_WAITS` times as long.
    `how`: "exec" runs the files, to test these looks themselves.
    """
    context = multiprocessing.get_context("spawn")
    process = pipe = None
    try:
        for path in paths:
            if process is None or pipe is None:
                pipe, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, how), daemon=True)
                process.start()
                theirs.close()
                assert pipe.poll(600) and pipe.recv() == "ready"
            before = _cpu_seconds(process.pid)
            pipe.send(path)
            try:
                answer = pipe.recv() if _answers(pipe, process.pid, before + seconds, seconds) else None
            except (EOFError, ConnectionResetError):
                answer = "died"
            took = _cpu_seconds(process.pid) - before
            if isinstance(answer, tuple):
                end, said, peak = answer
                yield Look(path, "too large" if peak > megabytes else end, said, took, peak)
                continue
            process.kill()
            process.join()
            yield Look(path, "died" if answer else "too slow", f"exit {process.exitcode}", took, 0.0)
            process = pipe = None
    finally:
        if process is not None:
            process.kill()
            process.join()


def _answers(pipe: Connection, pid: int | None, most: float, seconds: float) -> bool:
    """Wait for an answer until the process has used `most` seconds of the processor since it began."""
    end = time.monotonic() + _WAITS * seconds
    while not pipe.poll(min(0.1, seconds / 4)):
        if _cpu_seconds(pid) > most or time.monotonic() > end:
            return False
    return True


def _cpu_seconds(pid: int | None) -> float:
    """Seconds of the processor that a process has used. The clock's where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.monotonic()


def _serve(pipe: Connection, how: str) -> None:
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    from small import SPEC, random_model

    model = random_model(SPEC)
    base = _peak()
    try:
        import resource

        # A guard for the machine. What a look comes to is measured, and judged, by its own peak.
        virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (virtual + 4 * MEGABYTES * 2**20,) * 2)
    except (ImportError, OSError, ValueError):
        pass
    pipe.send("ready")
    while True:
        path = pipe.recv()
        _forget_peak()
        end, said = _look(path, model) if how == "predict" else _run(path)
        pipe.send((end, said, max(0.0, _peak() - base)))


def _look(path: Path, model: object) -> tuple[str, str]:
    """All that a user would do with a slide: open it, check it, predict it."""
    from ats_cli.errors import SlideError
    from ats_cli.inference import predict_many
    from ats_cli.slides import SlideSource, check_slide, open_slide

    try:
        with open_slide(path) as slide:
            check = check_slide(slide, tiles=10, threads=2)
            (found,) = predict_many([SlideSource("a", path)], model, tiles=5, threads=2, max_unreadable=1.0)  # type: ignore[arg-type]
    except SlideError as error:
        return _judged(path, str(error))
    except Exception:
        return "unforeseen", traceback.format_exc()
    if found.status == "failed":
        return _judged(path, found.error or "")
    return "result", f"{found.predicted}, {found.sampling.tiles_unreadable} unreadable, {len(check.problems)} problems"


def _run(path: Path) -> tuple[str, str]:
    try:
        exec(path.read_text(), {})
    except Exception as error:
        return "unforeseen", repr(error)
    return "result", ""


def _judged(path: Path, said: str) -> tuple[str, str]:
    good = said.startswith(f"{path.name}: ") and said.endswith(".") and "\n" not in said and "unforeseen" not in said
    return ("sentence" if good else "unforeseen"), said


def _forget_peak() -> None:
    """Let the peak of this process's memory begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The most memory this process has held, in MB, since it was last forgotten."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
