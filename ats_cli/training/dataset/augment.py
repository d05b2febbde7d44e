"""Augmentation of a slide, the same for its view and its tiles: rotation, reflection, stain, colour."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.records import TrainingSpec


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of one slide in one step.

    `turns`: quarter turns. `gamma`: (3,), the exponent of each colour channel. `brightness`, `saturation`: factors.
    `hue`: a share of the colour circle, -0.5 to 0.5. `stain`: (3, 3), by which optical densities are mixed, or None.
    Contrast is not changed: it depends on an image's mean, and would differ between a tile and the view around it.
    """

    turns: int
    mirror: bool
    gamma: NDArray[np.float64]
    brightness: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    stain: NDArray[np.float64] | None = None

    def apply(self, images: Tensor) -> Tensor:
        """Augment images (..., 3, H, W) in 0..1."""
        if self.stain is not None:
            images = mix_stains(images, self.stain)
        if np.any(self.gamma != 1):
            images = images.pow(images.new_tensor(self.gamma).view(3, 1, 1))
        if (self.brightness, self.saturation, self.hue) != (1, 1, 0):
            from torchvision.transforms.v2 import functional

            images = functional.adjust_brightness(images, self.brightness)
            images = functional.adjust_saturation(images, self.saturation)
            images = functional.adjust_hue(images, self.hue)
        rotated = torch.rot90(images, self.turns, (-2, -1))
        return rotated.flip(-1) if self.mirror else rotated

    def undo(self, maps: Tensor) -> Tensor:
        """Undo the rotation and reflection of maps (..., rows, cols)."""
        return torch.rot90(maps.flip(-1) if self.mirror else maps, -self.turns, (-2, -1))


NONE = Augmentation(0, False, np.ones(3))


def mix_stains(images: Tensor, mixing: NDArray[np.float64]) -> Tensor:
    """Return images (..., 3, H, W) in 0..1 with their optical densities, -log of transmitted light, mixed by (3, 3).

    By the Beer-Lambert law densities of stains add up, so a linear mixture of them is another staining. Empty glass,
    of density 0, stays as it is.
    """
    density = -images.clamp(min=1 / 256).log()
    mixed = torch.einsum("ij,...jhw->...ihw", images.new_tensor(mixing), density)
    return mixed.clamp(min=0).neg().exp()


def draw_augmentation(spec: TrainingSpec, rng: np.random.Generator) -> Augmentation:
    """Draw one of the eight rotations and reflections, and a colour change, within the recipe's limits.

    An exponent on the transmitted light is a factor on the optical density (Beer-Lambert law): more or less stain. One
    term of its logarithm is common to the three channels, one is each channel's own.
    """
    turns, mirror = (int(rng.integers(4)), bool(rng.integers(2))) if spec.flips else (0, False)
    jitter = spec.colour_jitter * (rng.standard_normal() + 0.5 * rng.standard_normal(3))
    gamma = np.exp(jitter.clip(-1, 1))
    stain = _draw_stain(spec.stain_jitter, rng) if spec.stain_jitter else None
    if not (spec.brightness_jitter or spec.saturation_jitter or spec.hue_jitter):
        return Augmentation(turns, mirror, gamma, stain=stain)
    brightness, saturation, hue = rng.uniform(-1, 1, 3)
    return Augmentation(
        turns,
        mirror,
        gamma,
        float(np.exp(spec.brightness_jitter * brightness)),
        float(np.exp(spec.saturation_jitter * saturation)),
        float(spec.hue_jitter * hue),
        stain,
    )


def _draw_stain(strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a mixture of the three densities, (identity + strength N), and a gain of each, exp(strength N)."""
    mixing = np.eye(3) + strength * rng.standard_normal((3, 3))
    gains = np.exp(strength * rng.standard_normal(3))
    return np.asarray(gains[:, None] * mixing)
