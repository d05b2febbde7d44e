"""A worker process: loads the nets once, then takes one slide after the other from its pipe until there are no more."""

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

from ats_cli.inference.job import Engine
from ats_cli.records import AtsError


@dataclass(frozen=True)
class Ready:
    """A worker has its nets: what they compute on and in."""

    device: str
    precision: str


@dataclass(frozen=True)
class Progress:
    """A slide under way."""

    slide_id: str
    done: int
    tiles: int


def work(pipe: Connection, engine: Engine, debug: bool) -> None:
    """Answer each Job with a Prediction, after a first message: Ready, or the AtsError that says why not."""
    for asked_to_end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_end, signal.SIG_IGN)  # it may reach the whole group; the parent decides what ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not debug:
        _be_silent()

    from ats_cli.inference.one import predict_one, start_engine

    try:
        model = start_engine(engine)
    except AtsError as error:
        pipe.send(error)
        return
    try:
        pipe.send(Ready(str(model.device), model.precision))
        while (job := pipe.recv()) is not None:
            pipe.send(predict_one(job, model, _Teller(pipe)))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone


class _Teller:
    """Tells the parent how far a slide has come: at its start, then once a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, -math.inf

    def __call__(self, slide_id: str, done: int, tiles: int) -> None:
        if time.monotonic() - self._last >= 1:
            self._last = time.monotonic()
            self._pipe.send(Progress(slide_id, done, tiles))


def _end_with_parent() -> None:
    """Whatever kills the parent, its workers do not stay behind."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _be_silent() -> None:
    """What native code prints as it fails is no answer of ours: the parent says it in a sentence."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nothing, stream.fileno())
    os.close(nothing)
