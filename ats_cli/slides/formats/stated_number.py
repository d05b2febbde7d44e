"""Numbers as slides state them in text."""

from __future__ import annotations

import math


def stated_number(text: str | None) -> float | None:
    """A decimal number, with a point or, as scanners in many countries write it, a comma; None for anything else.

    >>> stated_number("0,4990"), stated_number("40.0"), stated_number("1,234.5"), stated_number("")
    (0.499, 40.0, None, None)
    """
    try:
        value = float((text or "").strip().replace(",", ".").replace("_", "?"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
