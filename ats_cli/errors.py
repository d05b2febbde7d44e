"""What users can act on: the exceptions of the package. Their messages are sentences without secrets of URLs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit, urlunsplit


def without_secrets(word: str) -> str:
    """Return a word of a command; of a URL only scheme, host and path.

    >>> without_secrets("https://me:secret@host.org/a.svs?token=123#x")
    'https://host.org/a.svs'
    >>> without_secrets("slide.svs")
    'slide.svs'
    """
    before, colon, rest = word.partition("://")
    if not colon:
        return word
    option, equals, scheme = before.rpartition("=")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
    except ValueError:  # no host that can be told from what comes before it
        return f"{option}{equals}{scheme}://"
    return option + equals + urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def clean(text: str) -> str:
    """Return a text in which no URL shows a query, a fragment or credentials.

    >>> clean("403, url='https://host.org/a.svs?sig=abc' (denied)")
    "403, url='https://host.org/a.svs' (denied)"
    """
    return re.sub(r"[A-Za-z][\w+.\-]*://[^\s\"'<>]+", lambda found: without_secrets(found[0]), text)


Failure = Literal[
    "unreadable",
    "no scale",
    "no tissue",
    "regions",
    "missing",
    "too large",
    "crashed",
    "timed out",
    "memory",
    "unforeseen",
]
"""Kinds of failed slides: what to do about one is what to do about all of its kind."""


class AtsError(Exception):
    """Something the user can act on. The message is a sentence: what, where, what to do next.

    What a URL in it would give away is left out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(clean(message))


class SlideError(AtsError):
    """A slide that cannot be opened or read. The message begins with the slide's file name; `kind` is of `Failure`.

    name: the file's name. Formats and readers leave it out: `named_errors` adds it where slides are opened and read.
    """

    def __init__(self, sentence: str, kind: Failure = "unreadable", name: str | None = None) -> None:
        super().__init__(sentence)
        self.kind, self.name = kind, name

    def __str__(self) -> str:
        sentence = super().__str__()
        return f"{self.name}: {sentence}" if self.name else sentence


@contextlib.contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Give every SlideError raised inside, if it has no name yet, the name of the file that is opened or read."""
    try:
        yield
    except SlideError as error:
        error.name = error.name or name
        raise


class ModelError(AtsError):
    """A model folder that is missing, incomplete or contradictory."""
