"""The random order of slides in batches, and the randomness of each slide. It is restored from a checkpoint."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import TrainingSpec
from ats_cli.training.dataset.augment import draw_augmentation
from ats_cli.training.loop.step import SlideRandomness


@dataclass
class BatchOrder:
    """An endless sequence of batches of slide numbers. Every slide comes once before any comes again.

    With `probabilities` (n,), slides are drawn with replacement instead. `remaining`: the numbers that are drawn but
    not yet used; the next batch begins with them.
    """

    slides: int
    seed: int
    probabilities: NDArray[np.float64] | None = None
    remaining: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = _generator(self.seed, 0)

    def next(self, recipe: TrainingSpec) -> tuple[list[int], list[SlideRandomness]]:
        """The slide numbers of a step, and their randomness."""
        size = recipe.batch_size
        while len(self.remaining) < size:
            self.remaining += self._epoch().tolist()
        batch, self.remaining = self.remaining[:size], self.remaining[size:]
        augmentations = [draw_augmentation(recipe, self.rng) for _ in batch]
        generators = self.rng.spawn(len(batch))
        return batch, [SlideRandomness(a, rng) for a, rng in zip(augmentations, generators, strict=True)]

    def _epoch(self) -> NDArray[np.int64]:
        if self.probabilities is None:
            return self.rng.permutation(self.slides)
        return self.rng.choice(self.slides, self.slides, p=self.probabilities)

    def state(self) -> dict[str, Any]:
        """The state as JSON values."""
        sequence: Any = self.rng.bit_generator.seed_seq
        return {
            "left": list(self.remaining),
            "generator": self.rng.bit_generator.state,
            "spawned": sequence.n_children_spawned,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`."""
        self.remaining = list(state["left"])
        self.rng = _generator(self.seed, state["spawned"])
        self.rng.bit_generator.state = state["generator"]


def _generator(seed: int, spawned: int) -> np.random.Generator:
    """A generator that counts `spawned` children as made: the next ones are the same as without the interruption."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, n_children_spawned=spawned)))
