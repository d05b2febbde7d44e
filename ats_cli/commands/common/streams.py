"""The standard streams: always open, able to write any name, and without control characters of names."""

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

# Tables that are written to a file or a pipe have no maximum width, so that nothing is cut or wrapped.
PIPE_WIDTH = 10_000


def reserve_streams() -> None:
    """Open closed standard streams on the null device. Else a file opened later could receive what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    # A stream that was closed when Python started is None.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def use_utf8() -> None:
    """Restart in Python's UTF-8 mode if file names are not decoded as UTF-8 (an old locale).

    So a slide has the same name, draw and folder in every locale. Output keeps the encoding of the locale.
    """
    if sys.getfilesystemencoding().lower() != "utf-8" and sys.executable:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def escape_unencodable() -> None:
    """Write characters that the encoding lacks as \\uXXXX, in JSON too."""
    codecs.register_error("json_escape", _json_escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="json_escape")


def _json_escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def flush_or_silence(stream: TextIO) -> None:
    """Flush a stream. If that fails, redirect it to the null device, because Python flushes again when it exits."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # not a real file, as when a test captures the output
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def console(stderr: bool = False) -> Console:
    """Return a console that prints names and metadata as plain text. rich honours NO_COLOR."""
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
