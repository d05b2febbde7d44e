"""The `ats` command: lists its commands, imports one only when it is called, and ends every run with its exit status.

Command modules hold options and docstrings only; what is heavy is imported inside their functions, so that a help
page costs no more than Typer itself.
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ats_cli.commands.common.messages import say, say_traceback, sentence
from ats_cli.commands.common.streams import escape_unencodable, flush_or_silence, reserve_streams, use_utf8
from ats_cli.errors import AtsError

COMMANDS = ("info", "predict", "merge", "heatmap", "train", "evaluate", "models", "doctor")

DONE, SOME_FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130


class LazyGroup(TyperGroup):
    """A group that imports `ats_cli.commands.NAME` when NAME is called (or listed)."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        if cmd_name not in COMMANDS:
            for name in COMMANDS:  # so that a misspelt command is answered with the one that was meant
                self.get_command(ctx, name)
            return None
        if cmd_name not in self.commands:
            module = import_module(f"ats_cli.commands.{cmd_name}")
            built = getattr(module, "app", None)  # a command of several brings its own
            if built is None:
                built = typer.Typer(add_completion=False)
                help_alone = getattr(module, "NO_ARGS_IS_HELP", True)
                built.command(cmd_name, epilog=module.EXAMPLES, no_args_is_help=help_alone)(module.command)
            click_command = typer.main.get_command(built)
            click_command.name = cmd_name  # the list of commands shows it; a group brings none
            self.add_command(click_command, cmd_name)
        command = self.commands[cmd_name]
        assert isinstance(command, TyperCommand | TyperGroup)
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ats {version('ats-cli')}")
        raise typer.Exit


@app.callback()
def _ats(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Classify whole-slide and other gigapixel images by attention sampling: only a few tiles are read."""


def main() -> None:
    """Run `ats` with the arguments of the process and end the process with the status of the run."""
    if "--debug" not in sys.argv:
        _silence_libraries()
    reserve_streams()
    use_utf8()
    signal.signal(signal.SIGTERM, _interrupt)
    _end(run(sys.argv[1:]))


def _end(status: int) -> NoReturn:
    """End the process after its exit functions. Interpreter shutdown is skipped: it takes 0.3 s with torch imported."""
    if "torch" in sys.modules:
        atexit._run_exitfuncs()
        os._exit(status)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run `ats ARGUMENTS` and return its exit status.

    0: all done; 1: some slides failed, or something unforeseen; 2: the call itself is wrong; 130: interrupted.
    """
    arguments = _without_equals(arguments)
    debug = "--debug" in arguments
    escape_unencodable()
    _show_warnings(quiet="--quiet" in arguments)
    try:
        status = _status_of_typer(arguments)
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported in a sentence
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `ats ... | head`: the reader has closed the pipe.
        return SOME_FAILED
    except Exception as error:
        if debug:
            say_traceback()
        else:
            say(sentence(error))
        return WRONG_CALL if isinstance(error, AtsError) else SOME_FAILED
    finally:
        for stream in (sys.stdout, sys.stderr):
            flush_or_silence(stream)


def _without_equals(arguments: list[str]) -> list[str]:
    """Return `-oRUN` for `-o=RUN`, whose value would be `=RUN`."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return [re.sub("^(-[A-Za-z])=", r"\1", word) for word in options] + arguments[len(options) :]


def _interrupt(*_: object) -> None:
    """End the run as Ctrl-C does: what is finished stays written."""
    raise KeyboardInterrupt


def _silence_libraries() -> None:
    """Suppress warnings of libraries: errors are reported in our own sentences."""
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class _Messages(logging.Handler):
    """Prints log records of the packages as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def _show_warnings(quiet: bool) -> None:
    """Print what the packages log as warnings; with `quiet`, errors only."""
    logger = logging.getLogger("ats_cli")
    logger.setLevel(logging.ERROR if quiet else logging.WARNING)
    if not any(isinstance(handler, _Messages) for handler in logger.handlers):
        logger.addHandler(_Messages())


def _status_of_typer(arguments: list[str]) -> int:
    """Typer ends by raising SystemExit, whatever happened; return its status instead."""
    try:
        app(args=arguments, prog_name="ats")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return DONE
