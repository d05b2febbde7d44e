"""What an output writer is: one file in the folder of each slide of a run."""

from __future__ import annotations

from typing import Protocol

from ats_cli.records import Prediction


class Writer(Protocol):
    """Writes one file per slide. `name` is the file's name; no slide may have a folder of that name.

    `needs_tiles`: the file is made from `prediction.tile_arrays`, so it is left out for slides without tiles
    (those that failed). The other fields of a prediction are always there.
    """

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str:
        """A few words for the documentation."""
        ...

    @property
    def needs_tiles(self) -> bool: ...

    def content(self, prediction: Prediction) -> bytes:
        """Return the content of the file. The run folder writes it, whole and together with the slide's others."""
        ...
