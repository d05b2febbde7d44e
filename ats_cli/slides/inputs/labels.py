"""Labels and groups as tables spell them: what differs in nothing that can be seen, or only as numbers, is one name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ats_cli.errors import SlideError

# Invisible, but no format character (category Cf) to Unicode: joiners, fillers, variation selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")  # what pandas and R make of a number, 1 or 1.0
_LIKE_A_NUMBER = re.compile(r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]{1,4})?")

Key = str | Decimal


def plain(text: str) -> str:
    r"""Return a text as names are compared: in NFC, without invisible characters, runs of blanks as one.

    >>> plain(" high\u00a0 grade\u200b"), plain("Gro\u0308\u00dfe") == "Gr\u00f6\u00dfe"
    ('high grade', True)
    """
    if not (text.isascii() and text.isprintable()):
        text = " ".join(text.split())  # before tabs and line breaks, which are control characters, are left out
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") and not _INVISIBLE.match(c))
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


@dataclass(frozen=True)
class Spellings:
    """The names behind spellings. `names`: by spelling. `merged`: of each name with several, where each comes first."""

    kind: str
    names: Mapping[str, str]
    merged: Mapping[str, Mapping[str, str]]

    def sentence(self) -> str | None:
        """Return which spellings are one name, with one example; None where there are none."""
        if not self.merged:
            return None
        name, (first, second, *_) = next((name, tuple(found.items())) for name, found in self.merged.items())
        shown = ascii if plain(repr(first[0])) == plain(repr(second[0])) else repr
        more = len(self.merged) - 1
        others = f" (and {more} more like this)" if more else ""
        one, two = (f"{shown(text)} ({where})" for text, where in (first, second))
        return f"{one} and {two} are one {self.kind}, {name}{others}."


def spellings(written: Iterable[tuple[str, str]], kind: str, file: str) -> Spellings:
    """Return the names of labels or groups (`kind`). `written`: each with where it is written, like "row 2".

    Of several spellings, the shortest is the name. Raises SlideError, a sentence with both places, for two that may be
    one: in another case, or the same number written otherwise ("01" and "1").
    """
    found: dict[Key, dict[str, str]] = {}
    alike: dict[Key, tuple[Key, str, str]] = {}
    known: set[str] = set()
    for text, where in written:
        if text in known:
            continue
        known.add(text)
        key = _key(text)
        found.setdefault(key, {})[text] = where
        first, first_text, first_where = alike.setdefault(_loose_key(key), (key, text, where))
        if first != key:
            raise SlideError(
                f"{file}: {where} has {kind} {text!r}, but {first_where} {first_text!r}. Write it in one way only."
            )
    names: dict[str, str] = {}
    merged: dict[str, Mapping[str, str]] = {}
    for of in found.values():
        name = min(((plain(text) or text) for text in of), key=lambda name: (len(name), name))
        names |= dict.fromkeys(of, name)
        if len(of) > 1:
            merged[name] = of
    return Spellings(kind, names, merged)


def class_of(label: str, classes: Sequence[str]) -> str | None:
    """Return the one of a model's classes that a label is; None where it is none, or may be two.

    >>> class_of("1.0", ["0", "1"]), class_of("01", ["0", "1"])
    ('1', None)
    """
    if label in classes:
        return label
    found = [name for name in classes if _key(name) == _key(label)]
    return found[0] if len(found) == 1 else None


def _key(text: str) -> Key:
    name = plain(text) or text
    return Decimal(name) if _DECIMAL.fullmatch(name) else name


def _loose_key(key: Key) -> Key:
    if isinstance(key, Decimal):
        return key
    if _LIKE_A_NUMBER.fullmatch(key):
        return Decimal(key.replace(",", "."))
    return unicodedata.normalize("NFC", key.casefold())
