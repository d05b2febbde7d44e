"""Messages of the commands: results on stdout, all others on stderr, control characters only to a terminal."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from ats_cli.commands.common.streams import console
from ats_cli.errors import AtsError, clean
from ats_cli.text import printable

if TYPE_CHECKING:
    from ats_cli.training.train import TrainingProgress
    from ats_cli.zoo import ModelFolder


def say(message: str) -> None:
    """Print a message for the user on stderr."""
    typer.echo(f"ats: {clean(printable(message))}", err=True)


def ignore(message: str) -> None:
    """Take the place of `say` in a quiet command."""


def say_traceback() -> None:
    """Print the traceback of the current error, without the secrets of URLs."""
    typer.echo(clean(printable(traceback.format_exc(), lines=True)), err=True, nl=False)


def sentence(error: BaseException) -> str:
    """Return an error as a sentence for the user: what happened, and what to do about it."""
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
    """Print one line of the results on stdout, at once."""
    sys.stdout.write(printable(line) + "\n")
    sys.stdout.flush()


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
    """Say which model is used if none was named, and print the notice of the model."""
    if quiet:
        return
    if asked_for is None:
        say(f"model {folder.spec.name}: {folder.chosen_because}.")
    if folder.spec.notice:
        say(folder.spec.notice)
