"""Numbers as tables write them, read strictly."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]{1,4})?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")


def parse_number(text: str) -> float:
    """Return the number that a text is. A decimal comma is understood where it cannot separate thousands.

    Raises ValueError, whose message ends a sentence about the text.

    >>> parse_number("0.25"), parse_number("-2e3"), parse_number("0,25")
    (0.25, -2000.0, 0.25)
    >>> parse_number("1,250")
    Traceback (most recent call last):
    ValueError: may be 1.25 or 1250
    """
    if _THOUSANDS.fullmatch(text):
        decimal, whole = float(text.replace(",", ".")), float(text.replace(",", ""))
        raise ValueError(f"may be {decimal:g} or {whole:g}")
    if _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError("is not a number")
    return number
