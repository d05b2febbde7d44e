"""Find the slide among the images of a file, by one rule for all formats.

The largest image is the slide, regardless of its name. Among images of the same size, those with the word label, macro,
thumbnail or overview in their name come last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORDS = {"label", "macro", "thumbnail", "overview"}


def is_side_picture(name: str) -> bool:
    """Whether an image's name has a word that denotes a label, a macro image or the like.

    >>> is_side_picture("macro_image 1"), is_side_picture("CD68_macrophages"), is_side_picture("unlabeled")
    (True, False, False)
    """
    return not _WORDS.isdisjoint(re.findall(r"[^\W\d_]+", name.lower()))


def main_image(names: Sequence[str], areas: Sequence[int]) -> int:
    """Return the index of the image that is the slide, from the images' names and numbers of pixels.

    >>> main_image(["label", "scan 1", "macro"], [100, 900, 900])
    1
    """
    return max(range(len(areas)), key=lambda i: (areas[i], not is_side_picture(names[i])))
