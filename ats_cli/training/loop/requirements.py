"""The memory and time that a training needs, from a trial step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ats_cli.errors import AtsError
from ats_cli.training.memory import available_memory, peak_memory

if TYPE_CHECKING:
    from ats_cli.training.dataset.slide_store import SlideStore
    from ats_cli.training.loop.state import TrainState


@dataclass(frozen=True)
class Requirements:
    """seconds: of a step. memory: bytes of this process at the peak of a step, with its cached views. total: bytes that
    it may have, None if unknown."""

    seconds: float
    memory: float
    total: float | None

    def sentence(self, steps: int) -> str:
        """Return what the training needs, for the user."""
        of = f" of {self.total / 1e9:.1f}" if self.total else ""
        length = self.seconds * steps
        duration = f"{length / 60:.0f} minutes" if length >= 120 else f"{length:.0f} s"
        return (
            f"a step takes about {self.seconds:.2g} s, and the training {self.memory / 1e9:.1f}{of} GB of memory: "
            f"{steps:,} steps take about {duration}, besides validation."
        )


def measure(state: TrainState, store: SlideStore) -> Requirements:
    """Return what a step needs, from one part of a batch. Weights and random draws are left as they were.

    Raises AtsError if the views to cache do not fit beside it.
    """
    clock = time.perf_counter()
    slides = state.trial(store)
    seconds = (time.perf_counter() - clock) / slides * state.recipe.batch_size / state.fabric.world_size
    size = store.cached_bytes / max(1, len(store.cached_views))
    cached = min(store.memory, size * len(state.slides)) - store.cached_bytes
    available, peak = available_memory(), peak_memory()
    if available is not None and cached > available:
        raise AtsError(
            f"--memory {store.memory / 1e6:.0f}: the cached views would take {cached / 1e9:.1f} GB more, and "
            f"{available / 1e9:.1f} GB are free. Lower --memory."
        )
    return Requirements(seconds, peak + max(0.0, cached), None if available is None else available + peak)
