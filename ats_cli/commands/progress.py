"""How far a run over slides is: a live display for a person, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from ats_cli.commands.messages import say
from ats_cli.commands.streams import console
from ats_cli.records import Prediction

if TYPE_CHECKING:
    from rich.console import RenderableType

ActiveSlides = Callable[[], list[tuple[str, float]]]
"""What each worker is at: slide id, seconds so far."""

# In a log: the first line after a minute, and then the rarer the longer it takes (a share of the time so far).
FIRST_LINE, LINE_SHARE = 60.0, 0.05
WORKERS_SHOWN = 8
# Failed slides from which on a table of their kinds sums up what to do.
SEVERAL = 3


@dataclass
class Pace:
    """How many of `total` slides are finished, and how fast that goes. Seconds are of any clock that is steady."""

    total: int
    started: float
    kept: int = 0
    ok: int = 0
    tiles: int = 0
    bytes: int = 0
    tiles_at: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[Prediction] = field(default_factory=list)

    def on_progress(self, slide_id: str, done: int, tiles: int) -> None:
        """A slide under way has so many of its tiles."""
        self.tiles_at[slide_id] = done, tiles

    def add(self, prediction: Prediction, kept: bool = False) -> None:
        """A slide is finished; `kept`: it was before."""
        self.ok += prediction.status == "ok"
        if prediction.status != "ok":
            self.failures.append(prediction)
        self.kept += kept
        if not kept:
            self.tiles += prediction.tiles or 0
            self.bytes += prediction.bytes_read or 0
        self.tiles_at.pop(prediction.slide_id, None)

    @property
    def finished(self) -> int:
        return self.ok + len(self.failures)

    def counts(self) -> str:
        """ "112 of 200 slides, 3 failed, 88 left"."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{self.finished} of {self.total} slides{failed}, {self.total - self.finished} left"

    def speed(self, now: float) -> str:
        """What has been done a second; before the first slide, nothing."""
        fresh, seconds = self.finished - self.kept, now - self.started
        if not fresh or seconds <= 0:
            return ""
        slides = f"{fresh / seconds:.1f} slides/s" if fresh >= seconds else f"{seconds / fresh:.1f} s/slide"
        return f"{slides}, {self.tiles / seconds:.0f} tiles/s, {self.bytes / seconds / 1e6:.1f} MB/s"

    def times(self, now: float) -> str:
        """How long it has taken, and how long it may yet."""
        fresh, seconds = self.finished - self.kept, now - self.started
        left = "" if not fresh else f", {_clock((self.total - self.finished) * seconds / fresh)} to go"
        return _clock(seconds) + left


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Lines:
    """A line now and then, for where nobody looks."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._last = pace, pace.started

    def __call__(self, now: float) -> None:
        """Say how far it is, if it is time."""
        if now - self._last >= max(FIRST_LINE, LINE_SHARE * (now - self._pace.started)):
            self._last = now
            speed = self._pace.speed(now)
            say(f"{self._pace.counts()}; {speed}{', ' if speed else ''}{self._pace.times(now)}.")


class Progress:
    """Is on_progress what happens to slides. `shows`: something has been shown of it."""

    def __init__(self, pace: Pace, lines: Lines | None, shows: bool) -> None:
        self._pace, self._lines, self._shows = pace, lines, shows

    def on_progress(self, slide_id: str, done: int, tiles: int) -> None:
        """A slide under way has so many of its tiles."""
        self._pace.on_progress(slide_id, done, tiles)
        self._line()

    def add(self, prediction: Prediction, kept: bool = False) -> None:
        """A slide is finished; `kept`: it was before."""
        self._pace.add(prediction, kept)
        self._line()

    def _line(self) -> None:
        if self._lines is not None:
            self._lines(time.monotonic())

    @property
    def failures(self) -> list[Prediction]:
        """The slides that failed so far."""
        return self._pace.failures

    def summary(self) -> str | None:
        """What it came to, where a person was shown something on the way, or would have been by now."""
        now, pace = time.monotonic(), self._pace
        fresh = pace.finished - pace.kept
        long = self._lines is not None and now - pace.started >= FIRST_LINE
        if fresh < 2 or not (self._shows or long):
            return None
        return f"{fresh} slides in {_clock(now - pace.started)}: {pace.speed(now)}."


def sum_up(progress: Progress, quiet: bool) -> None:
    """Say how fast it went and, where several slides failed, of what kinds, and what to do about each."""
    if quiet:
        return
    summary = progress.summary()
    if summary:
        say(summary)
    failures = {p.slide_id: p for p in progress.failures}  # at several budgets a slide may fail more than once
    if len(failures) >= SEVERAL:
        from ats_cli.results.failures import print_failures

        print_failures(console(stderr=True), failures.values())


@contextmanager
def run_progress(total: int, quiet: bool, active_slides: ActiveSlides, streams: bool = False) -> Iterator[Progress]:
    """Show how far the block is, on stderr.

    `streams`: the answer goes to stdout line by line; on a terminal those lines are progress enough.
    """
    pace = Pace(total, time.monotonic())
    if quiet or (streams and sys.stdout.isatty() and sys.stderr.isatty()):
        yield Progress(pace, None, shows=False)
        return
    if not sys.stderr.isatty():
        yield Progress(pace, Lines(pace), shows=False)
        return
    from rich.live import Live

    def display() -> RenderableType:
        return _display(pace, time.monotonic(), active_slides())

    # rich would move stdout to stderr while it draws, and the answer with it: hands off.
    with Live(
        get_renderable=display,
        console=console(stderr=True),
        redirect_stdout=False,
        transient=True,
        refresh_per_second=2,
    ):
        yield Progress(pace, None, shows=True)


def _display(pace: Pace, now: float, active_slides: list[tuple[str, float]]) -> RenderableType:
    """The bar with its counts, the speed, and a line for each slide under way; none is longer than the screen."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def line(text: str) -> Text:
        return Text(text, no_wrap=True, overflow="ellipsis")

    head = Table.grid(padding=(0, 2))
    head.add_row(ProgressBar(pace.total, pace.finished, width=20), line(pace.counts()))
    parts: list[RenderableType] = [head, line(", ".join(filter(None, (pace.speed(now), pace.times(now)))))]
    workers = Table.grid(padding=(0, 2), expand=True)
    workers.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    workers.add_column(justify="right", no_wrap=True)
    workers.add_column(justify="right", no_wrap=True)
    for slide_id, seconds in active_slides[:WORKERS_SHOWN]:
        done, tiles = pace.tiles_at.get(slide_id, (0, 0))
        workers.add_row(Text(slide_id), f"{done} of {tiles} tiles" if tiles else "looking", f"{seconds:.0f} s")
    if len(active_slides) > WORKERS_SHOWN:
        workers.add_row(f"and {len(active_slides) - WORKERS_SHOWN} more", "", "")
    return Group(*parts, workers)
