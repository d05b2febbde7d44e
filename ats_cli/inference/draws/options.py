"""The options for drawing and reading the tiles of a slide, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from ats_cli.errors import AtsError
from ats_cli.plain_options import make_plain
from ats_cli.records import MAX_UNREADABLE
from ats_cli.registry import DEFAULT_SAMPLER, EXHAUSTIVE, NESTED_SAMPLER, SAMPLERS


@dataclass(frozen=True)
class DrawOptions:
    """Options of `predict_slide`. Raises AtsError for an invalid value, or for two that contradict each other.

    tiles: the budget; None for the model's own.
    sampler: None for the default, or for the nested sampler with a `confidence`.
    confidence: stop as soon as the class is settled at this confidence; `tiles` is then the most that is read.
    exhaustive: read every position: the exact value that the draws estimate.
    seed: the same seed and slide give the same tiles.
    batch_size: patches in a forward pass; None for what suits the device.
    threads: threads that read, decode and compute.
    max_unreadable: the share of the attention that may lie on what cannot be read.
    """

    tiles: int | None = None
    sampler: str | None = None
    confidence: float | None = None
    exhaustive: bool = False
    seed: int = 0
    batch_size: int | None = None
    threads: int = 4
    max_unreadable: float = MAX_UNREADABLE

    def __post_init__(self) -> None:
        make_plain(self, ("tiles", "seed", "batch_size", "threads"), ("confidence", "max_unreadable"))
        if self.tiles is not None and self.tiles < 1:
            raise AtsError(f"tiles={self.tiles}: a budget is 1 or more. Leave it out for the model's own.")
        if self.threads < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise AtsError(f"threads={self.threads}, batch_size={self.batch_size}: give 1 or more of each.")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise AtsError(
                f"confidence={self.confidence:g}: not a confidence. Give a number between 0 and 1, like 0.95."
            )
        if not 0 <= self.max_unreadable <= 1:
            raise AtsError(f"max_unreadable={self.max_unreadable:g}: not a share. Give a number from 0 to 1.")
        if self.exhaustive and self.confidence is not None:
            raise AtsError(
                "exhaustive reads every position, so that there is nothing to be confident of. Leave one out."
            )
        if self.confidence is not None and self.sampler not in (None, NESTED_SAMPLER):
            raise AtsError(
                f"a confidence is tested in race order ({NESTED_SAMPLER}), not by {self.sampler}. Leave one out."
            )
        if self.sampler is not None:
            SAMPLERS.check(self.sampler)

    @property
    def sampler_name(self) -> str:
        """The sampler that is used, as records name it."""
        if self.exhaustive:
            return EXHAUSTIVE
        return self.sampler or (DEFAULT_SAMPLER if self.confidence is None else NESTED_SAMPLER)
