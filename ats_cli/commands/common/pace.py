"""How many slides of a run are finished, and how fast: numbers, and short texts of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ats_cli.records import Prediction


@dataclass
class Pace:
    """Counts the finished slides of `total`. Seconds are of any steady clock.

    earlier: slides that the run folder had before. tiles, bytes: read by this call. tiles_of: (read, to read) by id of
    a slide being predicted.
    """

    total: int
    started: float
    earlier: int = 0
    ok: int = 0
    tiles: int = 0
    bytes: int = 0
    tiles_of: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[Prediction] = field(default_factory=list)

    def on_progress(self, slide_id: str, done: int, tiles: int) -> None:
        """Note how many tiles of a slide have been read."""
        self.tiles_of[slide_id] = done, tiles

    def add(self, prediction: Prediction, is_new: bool = True) -> None:
        """Count a finished slide."""
        self.ok += prediction.status == "ok"
        if prediction.status != "ok":
            self.failures.append(prediction)
        self.earlier += not is_new
        if is_new:
            self.tiles += prediction.sampling.tiles or 0
            self.bytes += prediction.cost.bytes_read or 0
        self.tiles_of.pop(prediction.slide_id, None)

    @property
    def finished(self) -> int:
        return self.ok + len(self.failures)

    @property
    def new(self) -> int:
        return self.finished - self.earlier

    def counts(self) -> str:
        """ "112 of 200 slides, 3 failed, 88 left"."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{self.finished} of {self.total} slides{failed}, {self.total - self.finished} left"

    def speed(self, now: float) -> str:
        """Slides, tiles and bytes per second; empty before the first slide."""
        seconds = now - self.started
        if not self.new or seconds <= 0:
            return ""
        slides = f"{self.new / seconds:.1f} slides/s" if self.new >= seconds else f"{seconds / self.new:.1f} s/slide"
        return f"{slides}, {self.tiles / seconds:.0f} tiles/s, {self.bytes / seconds / 1e6:.1f} MB/s"

    def times(self, now: float) -> str:
        """The time so far, and the time expected for the rest."""
        seconds = now - self.started
        left = "" if not self.new else f", {clock((self.total - self.finished) * seconds / self.new)} to go"
        return clock(seconds) + left


def clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
