"""Whether three channels are red, green and blue, by their names and colours in the file. One rule for all formats."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RGB = ["FF0000", "00FF00", "0000FF"]
_WORDS = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
# Default names of writers: "Channel 1", "Band 2", "C:0", "Channel:0:2", "2".
_DEFAULT_NAME = re.compile(r"(channel|band|sample|ch|c)?[\s:_-]*\d*([\s:_-]+\d+)*", re.IGNORECASE)


def are_red_green_blue(names: Sequence[str], colours: Sequence[str]) -> bool:
    """Whether three channels are red, green and blue.

    Three different colours decide, else names that are not defaults. Without either the answer is yes.

    names, colours: as the file states them, colours like "FF0000"; "" or an empty sequence if not stated.

    >>> are_red_green_blue(["DAPI", "CD3", "CD8"], []), are_red_green_blue(["Channel 0", "Channel 1", "Channel 2"], [])
    (False, True)
    >>> are_red_green_blue(["", "", ""], ["0000FF", "00FF00", "FF0000"])
    False
    """
    given = [colour.strip().lstrip("#").upper()[:6] for colour in colours]
    if len(set(given)) >= 3:
        return given == _RGB
    stripped = [name.strip() for name in names]
    if len(stripped) < 3 or len(set(stripped)) == 1 or all(_DEFAULT_NAME.fullmatch(name) for name in stripped):
        return True
    words = [set(re.findall(r"[^\W\d_]+", name.lower())) for name in stripped]
    return all(not own.isdisjoint(colour) for own, colour in zip(words, _WORDS, strict=False))
