"""Sentences about regions: of slides whose origin is not certain, and of slides on which some do not lie."""

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


def regions_outside(counts: Mapping[str, int]) -> str:
    """Return the sentence about regions that lie off their slide. counts: by slide id, how many."""
    slide_id, polygons = next(iter(counts.items()))
    if len(counts) > 1:
        slides = f"{len(counts)} slides, like {slide_id}, have regions that lie off the slide: these are"
    else:
        slides = f"{slide_id}: {polygons} of its regions {'lies' if polygons == 1 else 'lie'} off the slide, and"
        slides += " is" if polygons == 1 else " are"
    return f"{slides} left out. Check whether the file of regions is of that slide."
