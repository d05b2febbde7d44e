"""Which image of a file with several is the slide, and which are pictures beside it. One rule for all formats.

The largest image is the slide, whatever its name. Only of images of the same size does the name decide: one that is
called label, macro, thumbnail or overview, as a word by itself, comes after the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORDS = {"label", "macro", "thumbnail", "overview"}


def is_side_picture(name: str) -> bool:
    """Whether a word of an image's name is that of a picture beside the slide.

    >>> is_side_picture("macro_image 1"), is_side_picture("CD68_macrophages"), is_side_picture("unlabeled")
    (True, False, False)
    """
    return not _WORDS.isdisjoint(re.findall(r"[^\W\d_]+", name.lower()))


def main_image(names: Sequence[str], areas: Sequence[int]) -> int:
    """The number of the image that is the slide, of images by their names and numbers of pixels.

    >>> main_image(["label", "scan 1", "macro"], [100, 900, 900])
    1
    """
    return max(range(len(areas)), key=lambda i: (areas[i], not is_side_picture(names[i])))
