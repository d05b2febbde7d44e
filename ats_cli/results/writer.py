"""What an output writer is: one file, or folder of files, in the folder of each slide of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ats_cli.records import Need, Prediction


class Writer(Protocol):
    """Writes one file, or folder, per slide. `name` is its name; no slide may have a folder of that name."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str:
        """A few words for the documentation."""
        ...

    @property
    def option(self) -> str:
        """The option of `ats predict` that asks for it, such as "geojson" or "attention=ome-zarr"; "" for always."""
        ...

    @property
    def needs(self) -> tuple[Need, ...]:
        """What it is made from, besides the record.

        "tiles" is `prediction.tile_arrays`; it is left out for slides that failed, which have none. "attention",
        "view", "patches" and "features" are fields of `prediction.pixels`.
        """
        ...

    def write(self, path: Path, prediction: Prediction) -> None:
        """Write to `path`, where nothing is yet. The run folder moves it to its name, together with the slide's others.

        Raises OSError.
        """
        ...
