"""A worker process: loads the model once, then predicts the slides that arrive on its pipe until there are no more."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from ats_cli.errors import AtsError
from ats_cli.inference.executors.slide_task import ModelConfig


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its model: the device and the precision that it computes with."""

    device: str
    precision: str


@dataclass(frozen=True)
class TaskProgress:
    """How many of a slide's tiles have been read."""

    slide_id: str
    done: int
    tiles: int


def work(pipe: Connection, config: ModelConfig, debug: bool) -> None:
    """Send Ready, or the AtsError that says why the model cannot be loaded; then a Prediction for each SlideTask."""
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        # A signal may reach the whole process group; the parent decides what ends.
        signal.signal(stop_signal, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if not debug:
        _discard_output()

    from ats_cli.inference.executors.predict_task import load_configured_model, predict_task

    try:
        model = load_configured_model(config)
    except AtsError as error:
        pipe.send(error)
        return
    try:
        pipe.send(Ready(str(model.device), model.precision))
        while (task := pipe.recv()) is not None:
            pipe.send(predict_task(task, model, _ProgressReporter(pipe)))
    except (EOFError, BrokenPipeError):
        return  # the parent has ended


class _ProgressReporter:
    """Sends the progress of a slide to the parent: at its start, then once a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, -math.inf

    def __call__(self, slide_id: str, done: int, tiles: int) -> None:
        if time.monotonic() - self._last >= 1:
            self._last = time.monotonic()
            self._pipe.send(TaskProgress(slide_id, done, tiles))


def _exit_with_parent() -> None:
    """End this process when the parent has ended for any reason."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _discard_output() -> None:
    """Discard what native code prints when it fails: the parent reports the failure in a sentence."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nothing, stream.fileno())
    os.close(nothing)
