"""Progress on a terminal: the live display of a run, and the bar of a command without one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from ats_cli.commands.common.pace import Pace
from ats_cli.commands.common.streams import console

if TYPE_CHECKING:
    from rich.console import RenderableType

ActiveSlides = Callable[[], list[tuple[str, float]]]
"""Returns the slides being predicted: slide id, seconds so far."""

WORKERS_SHOWN = 8


def live_display(pace: Pace, active: ActiveSlides) -> AbstractContextManager[object]:
    """Show the pace and the slides being predicted while the block runs."""
    from rich.live import Live

    # rich must not redirect stdout to stderr: the results go there.
    return Live(
        get_renderable=lambda: render(pace, time.monotonic(), active()),
        console=console(stderr=True),
        redirect_stdout=False,
        transient=True,
        refresh_per_second=2,
    )


def render(pace: Pace, now: float, active: list[tuple[str, float]]) -> RenderableType:
    """Return the bar with its counts, the speed, and a line per active slide; none is longer than the screen."""
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
    for slide_id, seconds in active[:WORKERS_SHOWN]:
        done, tiles = pace.tiles_of.get(slide_id, (0, 0))
        workers.add_row(Text(slide_id), f"{done} of {tiles} tiles" if tiles else "attention", f"{seconds:.0f} s")
    if len(active) > WORKERS_SHOWN:
        workers.add_row(f"and {len(active) - WORKERS_SHOWN} more", "", "")
    return Group(*parts, workers)


@contextmanager
def slide_bar(total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr while the block runs; what is yielded is called after each slide.

    The results go to stdout line by line; on a terminal these lines are progress enough.
    """
    if quiet or not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task("slides", total=total)
        yield lambda: bar.advance(task)
