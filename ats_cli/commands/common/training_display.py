"""The progress of a training on stderr: a live line on a terminal, a line for each validation in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ats_cli.commands.common.messages import say
from ats_cli.commands.common.streams import console

if TYPE_CHECKING:
    from ats_cli.training.train import TrainingProgress


@contextmanager
def training_display(quiet: bool) -> Iterator[Callable[[TrainingProgress], None]]:
    """Yield a function that shows a step of the training."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _print_step
    else:
        with _live_line() as show_step:
            yield show_step


def _print_step(step: TrainingProgress) -> None:
    for note in step.notes:
        say(note)
    if step.validation or step.step == step.steps:
        say(_text(step))


@contextmanager
def _live_line() -> Iterator[Callable[[TrainingProgress], None]]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task("reading the slides", total=None)

        def show_step(step: TrainingProgress) -> None:
            # The live line is a single line; the figures of a validation are printed above it and remain.
            bar.update(task, total=step.steps, completed=step.step, description=_text(replace(step, validation=None)))
            for note in step.notes:
                bar.console.print(f"ats: {note}")
            if step.validation:
                bar.console.print(f"ats: {_text(step)}")

        yield show_step


def _text(step: TrainingProgress) -> str:
    figures = [f"step {step.step} of {step.steps}", f"loss {step.loss:.3f}", f"accuracy {step.accuracy:.0%}"]
    figures.append(f"attention drawn {step.mass:.0%}")
    if step.validation:
        figures += [f"validation {name.replace('_', ' ')} {value:.3f}" for name, value in step.validation.items()]
    return ", ".join(figures)
