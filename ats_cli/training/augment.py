"""Augmentation that is the same for a slide's view and for its tiles: turns, mirror images, stain strength."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.records import TrainingSpec


@dataclass(frozen=True)
class Augmentation:
    """How one slide is seen in one step. `gamma` (3,) is the power of each colour channel."""

    turns: int
    mirror: bool
    gamma: NDArray[np.float64]

    def apply(self, images: Tensor) -> Tensor:
        """Turn and colour images (..., 3, H, W) in 0..1."""
        if np.any(self.gamma != 1):
            images = images.pow(images.new_tensor(self.gamma).view(3, 1, 1))
        turned = torch.rot90(images, self.turns, (-2, -1))
        return turned.flip(-1) if self.mirror else turned

    def undo(self, maps: Tensor) -> Tensor:
        """Turn maps (..., rows, cols) of augmented images back."""
        return torch.rot90(maps.flip(-1) if self.mirror else maps, -self.turns, (-2, -1))


NONE = Augmentation(0, False, np.ones(3))


def draw_augmentation(spec: TrainingSpec, rng: np.random.Generator) -> Augmentation:
    """One of the eight turns and mirror images, and a colour change, as the recipe allows.

    A power of the transmitted light is a factor on the optical density (Beer-Lambert): more or less stain. One part
    of the change is common to the three channels, one part is each channel's own.
    """
    turns, mirror = (int(rng.integers(4)), bool(rng.integers(2))) if spec.flips else (0, False)
    jitter = spec.colour_jitter * (rng.standard_normal() + 0.5 * rng.standard_normal(3))
    return Augmentation(turns, mirror, np.exp(jitter.clip(-1, 1)))
