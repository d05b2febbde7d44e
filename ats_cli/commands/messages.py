"""What commands say: the answer on stdout, everything else on stderr, control characters only to a terminal."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import typer

from ats_cli.commands.streams import console
from ats_cli.records import NOMINAL_SCALE, AtsError, Prediction, clean
from ats_cli.text import printable

if TYPE_CHECKING:
    from ats_cli.training.train import TrainingProgress
    from ats_cli.zoo import ModelFolder


def say(message: str) -> None:
    """Tell the person at the keyboard something, on stderr."""
    typer.echo(f"ats: {clean(printable(message))}", err=True)


def say_traceback() -> None:
    """Show the traceback of the error at hand, without what opens a URL in it."""
    typer.echo(clean(printable(traceback.format_exc(), lines=True)), err=True, nl=False)


def sentence(error: BaseException) -> str:
    """Return what a person is told of an error: what happened, and what to do about it."""
    if isinstance(error, AtsError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" ({error.filename})" if error.filename else ""
        return f"no space left where the output is written{place}. Make room, or write elsewhere, and run it again."
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}larger than a file may be here. Raise the limit (ulimit -f), or write elsewhere."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}. Check the path and its access rights."
    if isinstance(error, MemoryError):
        return "not enough memory. Try a smaller --batch-size, or run it again with --debug for the traceback."
    return f"{type(error).__name__}: {error}. This was not foreseen: run it again with --debug for the traceback."


def answer(line: str) -> None:
    """Print one line of the answer on stdout, at once."""
    sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()


class Answer:
    """What a run says of its slides on stdout: a line of JSON each as it comes, or one table at the end.

    `order`: the slides' ids in the order that the table has.
    """

    def __init__(self, as_json: bool, order: Sequence[str]) -> None:
        self._as_json, self._order = as_json, order
        self._found: dict[str, Prediction] = {}

    def add(self, prediction: Prediction) -> None:
        if self._as_json:
            from ats_cli.results.record import json_line, prediction_dict

            answer(json_line(prediction_dict(prediction)))
        else:
            self._found[prediction.slide_id] = replace(prediction, kept=None, drawn=(), traits=None)

    def end(self) -> None:
        if self._found:
            from ats_cli.results.table import print_predictions

            print_predictions(console(), [self._found[name] for name in self._order if name in self._found])


@dataclass
class Tally:
    """How many slides there are and how they went. `nominal`: by slide id, a scale that is the objective's only."""

    total: int
    done: int = 0
    failed: int = 0
    unfamiliar: int = 0
    nominal: dict[str, float] = field(default_factory=dict)

    def count_scale(self, slide_id: str, mpp: float | None, source: str | None) -> None:
        """Count a slide whose microns per pixel the model relies on."""
        if source == NOMINAL_SCALE and mpp is not None:
            self.nominal[slide_id] = mpp

    def count(self, failure: str | None, debug: bool = False) -> None:
        """Count a slide; say its failure, if any (with `debug`, within an `except`: after the traceback)."""
        if failure is None:
            self.done += 1
            return
        self.failed += 1
        if debug:
            say_traceback()
        say(failure)

    def _warn(self) -> None:
        """Say once of all slides whose answer rests on a guess, or is not to be relied on."""
        if self.nominal:
            count = len(self.nominal)
            scales = ", ".join(f"{10 / mpp:g}x = {mpp:g}" for mpp in sorted(set(self.nominal.values())))
            say(
                f"{count} {_slides(count)} {'has' if count == 1 else 'have'} no microns per pixel; taken from the "
                f"objective's power: {scales}. Where a scanner differs, give --mpp."
            )
        if self.unfamiliar:
            what, theirs = ("is", "its") if self.unfamiliar == 1 else ("are", "their")
            say(
                f"{self.unfamiliar} of {self.total} {_slides(self.total)} {what} unlike those the model was trained "
                f"on (unfamiliar): do not rely on {theirs} class."
            )

    def finish(self) -> None:
        """Raise the exit of a run that came to its end: 0, or 1 where slides failed."""
        self._warn()
        if self.failed:
            say(f"{self.failed} of {self.total} {_slides(self.total)} failed.")
        raise typer.Exit(1 if self.failed else 0)

    def interrupted(self, kept: str) -> typer.Exit:
        """Say what an interrupted run keeps and return its exit, 130."""
        self._warn()
        say(f"interrupted after {self.done + self.failed} of {self.total} {_slides(self.total)}. {kept}")
        return typer.Exit(130)


class Advance(Protocol):
    """Tells the progress bar that one more slide is finished."""

    def __call__(self) -> None: ...


@contextmanager
def progress(total: int, quiet: bool, streams: bool = False) -> Iterator[Advance]:
    """Show a progress bar on stderr while the block runs, if a person is looking and it has anything to show.

    `streams`: the answer goes to stdout line by line; on a terminal those lines are progress enough.
    """
    looked_at = sys.stderr.isatty() and not (streams and sys.stdout.isatty())
    if quiet or not looked_at:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # rich would move stdout to stderr while it draws, and the answer with it: hands off.
    with Progress(*columns, console=console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task("slides", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def training_progress(quiet: bool) -> Iterator[Callable[[TrainingProgress], None]]:
    """Give what reports the steps of a training: a live line on a terminal, else a line for each validation."""
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty():

        def line(step: TrainingProgress) -> None:
            for note in step.notes:
                say(note)
            if step.validation or step.step == step.steps:
                say(_training_line(step))

        yield line
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task("reading the slides", total=None)

        def report(step: TrainingProgress) -> None:
            # The live line keeps to one line; a validation's figures are worth keeping on the screen.
            line = _training_line(replace(step, validation=None))
            bar.update(task, total=step.steps, completed=step.step, description=line)
            for note in step.notes:
                bar.console.print(f"ats: {note}")
            if step.validation:
                bar.console.print(f"ats: {_training_line(step)}")

        yield report


def _training_line(step: TrainingProgress) -> str:
    figures = [f"step {step.step} of {step.steps}", f"loss {step.loss:.3f}", f"accuracy {step.accuracy:.0%}"]
    figures.append(f"attention drawn {step.mass:.0%}")
    if step.validation:
        figures += [f"validation {name.replace('_', ' ')} {value:.3f}" for name, value in step.validation.items()]
    return ", ".join(figures)


def announce_model(folder: ModelFolder, asked_for: str | None, quiet: bool) -> None:
    """Say which model is used when none was named, and what the model wants its users to know."""
    if quiet:
        return
    if asked_for is None:
        say(f"model {folder.spec.name}: {folder.chosen_because}.")
    if folder.spec.notice:
        say(folder.spec.notice)


def _slides(count: int) -> str:
    return "slide" if count == 1 else "slides"
