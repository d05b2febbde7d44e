"""The task of a model in training: targets, losses and weights of its labelled slides."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ats_cli.records import ModelSpec
from ats_cli.registry import TASKS
from ats_cli.training.dataset.labelled import LabelledSlide

Scale = tuple[float, float]


def targets(spec: ModelSpec, slides: list[LabelledSlide], scale: Scale = (0.0, 1.0)) -> Tensor:
    """Return the targets of the logits of these slides; numbers are in units of `scale`."""
    return TASKS[spec.task].targets(_labels(slides), spec.classes, scale)


def losses(spec: ModelSpec, logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss (B,) of logits (B, C)."""
    return TASKS[spec.task].losses(logits.float(), target)


def accuracy(spec: ModelSpec, logits: Tensor, target: Tensor) -> Tensor:
    """Return the accuracy of each answer, (B,), from 0 to 1."""
    return TASKS[spec.task].accuracy(logits, target)


def scale_of(spec: ModelSpec, slides: list[LabelledSlide]) -> Scale:
    """Return mean and standard deviation of labels that are numbers, else (0, 1)."""
    return TASKS[spec.task].scale(_labels(slides))


def in_units(nets: torch.nn.Module, head: torch.nn.Linear, scale: Scale) -> None:
    """Change a head that learned standardised numbers to answer in the units of the labels."""
    if scale != (0.0, 1.0):
        with torch.no_grad():
            head.weight.mul_(scale[1])
            head.bias.mul_(scale[1]).add_(scale[0])


def slide_weights(spec: ModelSpec, slides: list[LabelledSlide]) -> NDArray[np.float64]:
    """Return the weight of each slide, (n,), with mean 1; with `balance`, all classes have the same weight."""
    weights = np.array([slide.weight for slide in slides])
    if spec.training.balance != "none":
        weights = TASKS[spec.task].balanced(weights, _labels(slides), spec.classes)
    return np.asarray(weights / weights.mean())


def baseline_loss(spec: ModelSpec, slides: list[LabelledSlide]) -> float:
    """Return the loss of a model that always predicts the frequencies of the labels: ln C for C equal classes."""
    return TASKS[spec.task].baseline_loss(_labels(slides), spec.classes, slide_weights(spec, slides))


def _labels(slides: list[LabelledSlide]) -> list[str]:
    return [slide.label for slide in slides]
