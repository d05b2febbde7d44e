"""Fonts for text in any script: matplotlib's own, then those of the system for the characters that it lacks."""

from __future__ import annotations

from functools import cache

DEFAULT = "DejaVu Sans"


def families(text: str) -> list[str]:
    """Return the families of fonts that hold the characters of a text, matplotlib's default first.

    Characters that no font of the system has are drawn as boxes.
    """
    found, missing = [DEFAULT], {ord(character) for character in text if character.isprintable()}
    for name, file in _fonts():
        if not missing:
            break
        characters = missing & _characters(file)
        if characters and name not in found:
            found.append(name)
        missing -= characters
    return found


@cache
def _fonts() -> tuple[tuple[str, str], ...]:
    """Return (family, file) of the fonts of the system, the default first."""
    from matplotlib.font_manager import findfont, fontManager

    own = (DEFAULT, str(findfont(DEFAULT)))
    return (own, *sorted({(font.name, str(font.fname)) for font in fontManager.ttflist if font.style == "normal"}))


@cache
def _characters(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # a font that FreeType cannot read
        return frozenset()
