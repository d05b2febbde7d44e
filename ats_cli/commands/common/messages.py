"""Messages of the commands: results on stdout, all others on stderr, without control characters."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import TYPE_CHECKING

import typer

from ats_cli.errors import AtsError, clean
from ats_cli.text import printable

if TYPE_CHECKING:
    from ats_cli.zoo import ModelFolder


def say(message: str) -> None:
    """Print a message for the user on stderr."""
    typer.echo(f"ats: {clean(printable(message))}", err=True)


def ignore(message: str) -> None:
    """Do nothing: replaces `say` in a quiet command."""


def say_traceback() -> None:
    """Print the traceback of the current error, without the secrets of URLs."""
    typer.echo(clean(printable(traceback.format_exc(), lines=True)), err=True, nl=False)


def sentence(error: BaseException) -> str:
    """Return an error as a message for the user: what happened, and what to do."""
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


def announce_model(folder: ModelFolder, asked_for: str | None, quiet: bool) -> None:
    """Print which model is used if the user named none, and the notice of the model."""
    if quiet:
        return
    if asked_for is None:
        say(f"model {folder.spec.name}: {folder.chosen_because}.")
    if folder.spec.notice:
        say(folder.spec.notice)
