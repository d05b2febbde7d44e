"""Values of options from Python: numbers of any library become Python's own, and names are checked at once."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

from ats_cli.errors import AtsError

PRECISIONS = ("fp32", "bf16", "fp16")


def make_plain(options: Any, whole: Iterable[str], real: Iterable[str] = ()) -> None:
    """Convert fields of a frozen dataclass to int and float, in place; None stays. Numbers of numpy are numbers.

    Raises AtsError for a value that is no whole number, or no number.
    """
    for name in whole:
        value = getattr(options, name)
        try:
            object.__setattr__(options, name, value if value is None else operator.index(value))
        except TypeError:
            raise AtsError(f"{name}={value!r}: not a whole number.") from None
    for name in real:
        value = getattr(options, name)
        if value is not None and not isinstance(value, Real):
            raise AtsError(f"{name}={value!r}: not a number.")
        object.__setattr__(options, name, value if value is None else float(value))


def check_device(name: str, auto: bool = True) -> None:
    """Raise AtsError for a name that is no device, here or anywhere. `auto`: whether "auto" is one."""
    kind, colon, number = str(name).partition(":")
    known = ("auto", "cpu", "cuda", "mps") if auto else ("cpu", "cuda", "mps")
    if kind not in known or (colon and not (kind != "auto" and number.isdigit())):
        names = ", ".join(f'"{one}"' for one in known)
        raise AtsError(f'--device {name}: not a device. Choose one of {names}, or a number of them, like "cuda:1".')


def check_precision(name: str, auto: bool = True) -> None:
    """Raise AtsError for a name that is no precision; `auto`: whether "auto" is one."""
    known = ("auto", *PRECISIONS) if auto else PRECISIONS
    if name not in known:
        raise AtsError(f"--precision {name}: not a precision. Choose {', '.join(known[:-1])} or {known[-1]}.")
