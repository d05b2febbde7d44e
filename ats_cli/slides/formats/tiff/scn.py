"""The bounds of a Leica SCN, from its XML: its pictures lie anywhere on the scanned area."""

from __future__ import annotations

import math
from typing import NamedTuple
from xml.etree import ElementTree

_BRIGHTFIELD = "brightfield"


class _Picture(NamedTuple):
    """A picture of the slide; `pages`: the TIFF directories that hold it.

    x, y, width, height: in level-0 pixels of the scanned area, as OpenSlide counts them.
    """

    x: float
    y: float
    width: int
    height: int
    pages: frozenset[int]


def scn_bounds(xml: str, page: int) -> dict[str, str]:
    """Return the properties `openslide.bounds-*` of the picture in TIFF directory `page`, read by itself.

    They are the rectangle around all pictures, in pixels of that one. Empty where the XML does not say.
    """
    try:
        pictures = _pictures(ElementTree.fromstring(xml))
    except (ElementTree.ParseError, KeyError, ValueError, IndexError, ZeroDivisionError):
        return {}
    own = next((picture for picture in pictures if page in picture.pages), None)
    if own is None:
        return {}
    left, top = math.floor(min(p.x for p in pictures)), math.floor(min(p.y for p in pictures))
    right, bottom = math.ceil(max(p.x + p.width for p in pictures)), math.ceil(max(p.y + p.height for p in pictures))
    values = left - round(own.x), top - round(own.y), right - left, bottom - top
    names = ("x", "y", "width", "height")
    return {f"openslide.bounds-{name}": str(value) for name, value in zip(names, values, strict=True)}


def _pictures(root: ElementTree.Element) -> list[_Picture]:
    """All pictures but the overview of the whole slide. Raises KeyError, ValueError and the like for other XML."""
    (collection,) = root.iterfind("{*}collection")
    area = _numbers(collection, "sizeX", "sizeY")
    found: list[tuple[tuple[float, ...], list[dict[str, str]]]] = []
    for image in collection.findall("{*}image"):
        (view_element,) = image.iterfind("{*}view")
        view = _numbers(view_element, "offsetX", "offsetY", "sizeX", "sizeY")
        light = image.findtext("{*}scanSettings/{*}illuminationSettings/{*}illuminationSource")
        levels = [level.attrib for level in image.findall("{*}pixels/{*}dimension") if level.get("z", "0") == "0"]
        if light == _BRIGHTFIELD and view != (0.0, 0.0, *area):
            found.append((view, sorted(levels, key=lambda level: -int(level["sizeX"]))))
    scale = min(view[2] / int(levels[0]["sizeX"]) for view, levels in found)
    return [
        _Picture(
            view[0] / scale,
            view[1] / scale,
            int(levels[0]["sizeX"]),
            int(levels[0]["sizeY"]),
            frozenset(int(level["ifd"]) for level in levels),
        )
        for view, levels in found
    ]


def _numbers(element: ElementTree.Element, *names: str) -> tuple[float, ...]:
    return tuple(float(element.attrib[name]) for name in names)
