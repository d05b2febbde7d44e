"""Whether three channels of a file are red, green and blue, by the names and colours that it gives them. One rule for
all formats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_RGB = ["FF0000", "00FF00", "0000FF"]
_WORDS = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
# Names that writers make up where nobody gave any: "Channel 1", "Band 2", "C:0", "Channel:0:2", "2".
_MADE_UP = re.compile(r"(channel|band|sample|ch|c)?[\s:_-]*\d*([\s:_-]+\d+)*", re.IGNORECASE)


def are_red_green_blue(names: Sequence[str], colours: Sequence[str]) -> bool:
    """Of three channels. `names`, `colours` (like "FF0000"): those that the file gives, "" or none where it gives none.

    Colours decide where there are three; else names that somebody gave. Without either, three channels are red, green
    and blue.

    >>> are_red_green_blue(["DAPI", "CD3", "CD8"], []), are_red_green_blue(["Channel 0", "Channel 1", "Channel 2"], [])
    (False, True)
    >>> are_red_green_blue(["", "", ""], ["0000FF", "00FF00", "FF0000"])
    False
    """
    given = [colour.strip().lstrip("#").upper()[:6] for colour in colours]
    if len(set(given)) >= 3:
        return given == _RGB
    called = [name.strip() for name in names]
    if len(called) < 3 or len(set(called)) == 1 or all(_MADE_UP.fullmatch(name) for name in called):
        return True
    words = [set(re.findall(r"[^\W\d_]+", name.lower())) for name in called]
    return all(not own.isdisjoint(colour) for own, colour in zip(words, _WORDS, strict=False))
