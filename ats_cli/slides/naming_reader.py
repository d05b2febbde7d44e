"""Puts the slide's name in front of the errors and the damage that a reader reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import named_errors
from ats_cli.slides.reader import Box, Damage, InFinerLevel, Reader, Region


def naming_reader(name: str, reader: Reader) -> Reader:
    """Return a reader whose errors, and whose reasons of damage, begin with the slide's name."""
    return cast(Reader, _NamingReader(name, reader))


class _NamingReader:
    """Delegates to `reader`."""

    def __init__(self, name: str, reader: Reader) -> None:
        self._name, self._reader = name, reader

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._reader, attribute)

    def read(self, level: int, boxes: Sequence[Box], threads: int) -> Iterator[Region]:
        with named_errors(self._name):
            for region in self._reader.read(level, boxes, threads):
                yield region._replace(damage=tuple(map(self._named, region.damage))) if region.damage else region

    def absent(self, level: int) -> NDArray[np.bool_] | None:
        with named_errors(self._name):
            return self._reader.absent(level)

    def color_profile(self) -> bytes | None:
        with named_errors(self._name):
            return self._reader.color_profile()

    def _named(self, damage: Damage) -> Damage:
        if isinstance(damage.reason, InFinerLevel):  # no fault of the file, so not reported
            return damage
        return Damage(damage.box, f"{self._name}: {damage.reason}")
