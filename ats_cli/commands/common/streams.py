"""The standard streams of a run: there, in an encoding that can write any name, and safe to print on."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

# Tables piped into a file or a program are as wide as they need to be: nothing in them is cut or wrapped.
PIPE_WIDTH = 10_000


def reserve_streams() -> None:
    """Point closed standard streams at nothing; a file opened later would take their place and get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    # Python has None for a stream that was closed when it began.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def use_utf8() -> None:
    """Where file names are not read as UTF-8 (an old locale), begin again in the UTF-8 mode of Python.

    A slide has the same name, and so the same draw and the same folder, in every locale. What is printed is still
    in the encoding of the locale.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and sys.executable:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def escape_unencodable() -> None:
    """What an encoding lacks is written as \\uXXXX, in JSON too."""
    codecs.register_error("json_escape", _json_escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="json_escape")


def _json_escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def flush_or_silence(stream: TextIO) -> None:
    """Flush; where that is impossible, point the stream at nothing: Python flushes once more as it exits."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # not a real file (a test's capture): nothing is left to flush into
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def console(stderr: bool = False) -> Console:
    """Return a console on which names and metadata can only be text. NO_COLOR is honoured by rich."""
    from rich.console import Console
    from rich.segment import Segment

    from ats_cli.text import printable

    class PrintableConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text, lines=True), segment.style)

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return PrintableConsole(width=width, stderr=stderr, highlight=False, markup=False, emoji=False)
