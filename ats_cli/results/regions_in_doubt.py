"""The sentence about slides of which it is not certain where the coordinates of their regions begin."""

from __future__ import annotations

from collections.abc import Mapping


def regions_in_doubt(origins: Mapping[str, str | None]) -> str:
    """Return the sentence. origins: by slide id, "bounds" or "level0"."""
    slide_id, origin = next(iter(origins.items()))
    count = len(origins)
    slides = f"{slide_id} has" if count == 1 else f"{count} slides, like {slide_id}, have"
    begin, other = ("the bounds, as in QuPath", "level0") if origin == "bounds" else ("level 0", "bounds")
    return (
        f"{slides} bounds, and regions that may be counted from the bounds or from level 0. They were counted from "
        f"{begin}; if that is wrong, give --roi-origin {other}."
    )
