"""How many slides of a call succeeded and failed, the warnings about them, and the exit status that follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import typer

from ats_cli.commands.common.messages import say, say_traceback
from ats_cli.records import NOMINAL_SCALE, Prediction, RegionsUsed
from ats_cli.results.regions_in_doubt import regions_in_doubt, regions_outside


class KnownScale(Protocol):
    """The microns per pixel of a slide, and where they are known from."""

    @property
    def mpp(self) -> float | None: ...
    @property
    def mpp_source(self) -> str | None: ...


@dataclass
class Tally:
    """Counts slides and reports failures on stderr as they occur.

    total: slides of the call. quiet: no warnings at the end. uses_mpp: the model's scales are in microns.
    failed_outputs: slides of which an optional output could not be written.
    nominal: microns per pixel by slide id, of slides that state only the power of the objective.
    in_doubt: by slide id, where the coordinates of regions begin that would lie on the slide with the other origin too.
    outside: by slide id, how many regions lie off the slide.
    """

    total: int
    quiet: bool = False
    uses_mpp: bool = False
    done: int = 0
    failed: int = 0
    unfamiliar: int = 0
    failed_outputs: int = 0
    nominal: dict[str, float] = field(default_factory=dict)
    in_doubt: dict[str, str | None] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)

    def add(self, prediction: Prediction, is_new: bool = True) -> None:
        """Count a prediction."""
        self.count(prediction.error if prediction.status == "failed" else None)
        self.unfamiliar += bool(prediction.comparison.unfamiliar)
        self.count_scale(prediction.slide_id, prediction.provenance)
        self.count_regions(prediction.slide_id, prediction.provenance.regions)

    def count(self, failure: str | None, debug: bool = False) -> None:
        """Count a slide; report its failure, if any (with `debug`, within an `except`: after the traceback)."""
        if failure is None:
            self.done += 1
            return
        self.failed += 1
        if debug:
            say_traceback()
        say(failure)

    def count_scale(self, slide_id: str, scale: KnownScale) -> None:
        """Count a slide whose microns per pixel are only nominal, if the model uses them."""
        if self.uses_mpp and scale.mpp_source == NOMINAL_SCALE and scale.mpp is not None:
            self.nominal[slide_id] = scale.mpp

    def count_regions(self, slide_id: str, regions: RegionsUsed | None) -> None:
        """Count a slide if it is not certain where the coordinates of its regions begin, or if some lie off it."""
        if regions is not None and not regions.certain:
            self.in_doubt[slide_id] = regions.origin
        if regions is not None and regions.outside:
            self.outside[slide_id] = regions.outside

    def finish(self) -> None:
        """Raise the exit of a complete run: 0, or 1 where slides failed."""
        self._warn()
        if self.failed:
            say(f"{self.failed} of {self.total} {_slides(self.total)} failed.")
        raise typer.Exit(1 if self.failed or self.failed_outputs else 0)

    def interrupted(self, saved: str) -> typer.Exit:
        """Say what remains of an interrupted run, `saved`, and return its exit, 130."""
        self._warn()
        say(f"interrupted after {self.done + self.failed} of {self.total} {_slides(self.total)}. {saved}")
        return typer.Exit(130)

    def _warn(self) -> None:
        if self.quiet:
            return
        if self.nominal:
            count = len(self.nominal)
            scales = ", ".join(f"{10 / mpp:g}x = {mpp:g}" for mpp in sorted(set(self.nominal.values())))
            say(
                f"{count} {_slides(count)} {'has' if count == 1 else 'have'} no microns per pixel; taken from the "
                f"objective's power: {scales}. Where a scanner differs, give --mpp."
            )
        if self.in_doubt:
            say(regions_in_doubt(self.in_doubt))
        if self.outside:
            say(regions_outside(self.outside))
        if self.unfamiliar:
            what, theirs = ("is", "its") if self.unfamiliar == 1 else ("are", "their")
            say(
                f"{self.unfamiliar} of {self.total} {_slides(self.total)} {what} unlike those the model was trained "
                f"on (unfamiliar): do not rely on {theirs} class."
            )


def saved_of(output: Path | None, overwrite: bool) -> str:
    """Return the sentence about where the slides of an interrupted prediction are."""
    if output is None:
        return "What is printed above is complete."
    continues = "continues the run, without --overwrite" if overwrite else "continues the run"
    return f"{output} has them, and the same call {continues}."


def _slides(count: int) -> str:
    return "slide" if count == 1 else "slides"
