"""In which order slides are learnt from, and what chance decides of each. A training goes on from its state."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import TrainingSpec
from ats_cli.training.augment import draw_augmentation
from ats_cli.training.step import Chance


@dataclass
class Order:
    """Endless batches of slide numbers; every slide once before any comes again.

    With `shares` (n,), every place is drawn by them instead. `left` is what is known of the batches to come.
    """

    slides: int
    seed: int
    shares: NDArray[np.float64] | None = None
    left: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = _generator(self.seed, 0)

    def next(self, recipe: TrainingSpec) -> tuple[list[int], list[Chance]]:
        """The slides of a step and their chances."""
        size = recipe.batch_size
        while len(self.left) < size:
            self.left += self._round().tolist()
        batch, self.left = self.left[:size], self.left[size:]
        augmentations = [draw_augmentation(recipe, self.rng) for _ in batch]
        return batch, [Chance(a, rng) for a, rng in zip(augmentations, self.rng.spawn(len(batch)), strict=True)]

    def _round(self) -> NDArray[np.int64]:
        if self.shares is None:
            return self.rng.permutation(self.slides)
        return self.rng.choice(self.slides, self.slides, p=self.shares)

    def state(self) -> dict[str, Any]:
        """All of it, as plain JSON values."""
        sequence: Any = self.rng.bit_generator.seed_seq
        return {
            "left": list(self.left),
            "generator": self.rng.bit_generator.state,
            "spawned": sequence.n_children_spawned,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`."""
        self.left = list(state["left"])
        self.rng = _generator(self.seed, state["spawned"])
        self.rng.bit_generator.state = state["generator"]


def _generator(seed: int, spawned: int) -> np.random.Generator:
    """A generator that has spawned so many others already: those it spawns next are the same as they would be."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, n_children_spawned=spawned)))
