"""The progress of a run on stderr: a live display on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ats_cli.commands.common.messages import say
from ats_cli.commands.common.pace import Pace, clock
from ats_cli.commands.common.progress_display import ActiveSlides, live_display
from ats_cli.commands.common.streams import console
from ats_cli.records import Prediction

# In a log: the first line after a minute, later ones ever more rarely (after this share of the time so far).
FIRST_LINE, LINE_SHARE = 60.0, 0.05
# Failed slides from which on a table sums them up by kind.
SEVERAL = 3


class LogLines:
    """Prints a line about the pace now and then."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._last = pace, pace.started

    def __call__(self, now: float) -> None:
        """Print a line, if it is time."""
        if now - self._last >= max(FIRST_LINE, LINE_SHARE * (now - self._pace.started)):
            self._last = now
            speed = self._pace.speed(now)
            say(f"{self._pace.counts()}; {speed}{', ' if speed else ''}{self._pace.times(now)}.")


class RunProgress:
    """Receives what happens to slides. `lines`: prints it to a log. `is_shown`: there is a live display of it."""

    def __init__(self, pace: Pace, lines: LogLines | None, is_shown: bool) -> None:
        self._pace, self._lines, self._is_shown = pace, lines, is_shown

    def on_progress(self, slide_id: str, done: int, tiles: int) -> None:
        """Note how many tiles of a slide have been read."""
        self._pace.on_progress(slide_id, done, tiles)
        self._line()

    def add(self, prediction: Prediction, is_new: bool = True) -> None:
        """Count a finished slide."""
        self._pace.add(prediction, is_new)
        self._line()

    def _line(self) -> None:
        if self._lines is not None:
            self._lines(time.monotonic())

    def end(self, quiet: bool) -> None:
        """Print the speed of the run and, where several slides failed, a table of their kinds with advice."""
        if quiet:
            return
        summary = self._summary()
        if summary:
            say(summary)
        failures = {p.slide_id: p for p in self._pace.failures}  # a slide may fail at more than one budget
        if len(failures) >= SEVERAL:
            from ats_cli.results.failures import print_failures

            print_failures(console(stderr=True), failures.values())

    def _summary(self) -> str | None:
        """Return the speed of a run of several slides that had a display, or took long enough for a line."""
        now, pace = time.monotonic(), self._pace
        long = self._lines is not None and now - pace.started >= FIRST_LINE
        if pace.new < 2 or not (self._is_shown or long):
            return None
        return f"{pace.new} slides in {clock(now - pace.started)}: {pace.speed(now)}."


@contextmanager
def run_progress(total: int, quiet: bool, active: ActiveSlides, streams: bool = False) -> Iterator[RunProgress]:
    """Show the progress of the block on stderr.

    `streams`: results are printed on stdout line by line; on a terminal these lines are progress enough.
    """
    pace = Pace(total, time.monotonic())
    if quiet or (streams and sys.stdout.isatty() and sys.stderr.isatty()):
        yield RunProgress(pace, None, is_shown=False)
    elif not sys.stderr.isatty():
        yield RunProgress(pace, LogLines(pace), is_shown=False)
    else:
        with live_display(pace, active):
            yield RunProgress(pace, None, is_shown=True)
