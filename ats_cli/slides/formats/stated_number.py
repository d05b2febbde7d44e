"""Parse numbers in the text metadata of slides."""

from __future__ import annotations

import math


def stated_number(text: str | None) -> float | None:
    """Return a decimal number with a point or a comma (scanners of many countries write commas); None for other text.

    >>> stated_number("0,4990"), stated_number("40.0"), stated_number("1,234.5"), stated_number("")
    (0.499, 40.0, None, None)
    """
    try:
        value = float((text or "").strip().replace(",", ".").replace("_", "?"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
