"""What is learnt: one class of several, several labels at once, or a number. Targets, losses, the loss by chance."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ats_cli.records import ModelSpec
from ats_cli.training.data import LabelledSlide, labels_of


def targets(spec: ModelSpec, slides: list[LabelledSlide], scale: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Class numbers (B,); of several labels 0 or 1 each, (B, C); of a number (B, 1) in units of `scale`."""
    if spec.task == "regression":
        return torch.tensor([[(float(slide.label) - scale[0]) / scale[1]] for slide in slides], dtype=torch.float32)
    if spec.task == "multi-label":
        has = [[float(name in labels_of(slide.label)) for name in spec.classes] for slide in slides]
        return torch.tensor(has, dtype=torch.float32)
    return torch.tensor([spec.classes.index(slide.label) for slide in slides])


def losses(spec: ModelSpec, logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy, the mean binary one over the labels, or squared error: (B,) of logits (B, C)."""
    logits = logits.float()
    if spec.task == "regression":
        return (logits - target).square().mean(1)
    if spec.task == "multi-label":
        return functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
    return functional.cross_entropy(logits, target, reduction="none")


def right(spec: ModelSpec, logits: Tensor, target: Tensor) -> Tensor:
    """How right each answer is, (B,): 1 or 0; the share of its labels; of a number, if within half a deviation."""
    if spec.task == "regression":
        return ((logits - target).abs() < 0.5).float().mean(1)
    if spec.task == "multi-label":
        return ((logits > 0) == (target > 0.5)).float().mean(1)
    return (logits.argmax(1) == target).float()


def scale_of(spec: ModelSpec, slides: list[LabelledSlide]) -> tuple[float, float]:
    """Mean and standard deviation of the numbers to learn; (0, 1) where classes are learnt."""
    if spec.task != "regression":
        return 0.0, 1.0
    values = np.array([float(slide.label) for slide in slides])
    return float(values.mean()), float(values.std()) or 1.0


def in_units(nets: torch.nn.Module, head: torch.nn.Linear, scale: tuple[float, float]) -> None:
    """Let a head that learnt standardised numbers answer in the numbers' own units: it is linear."""
    if scale != (0.0, 1.0):
        with torch.no_grad():
            head.weight.mul_(scale[1])
            head.bias.mul_(scale[1]).add_(scale[0])


def slide_weights(spec: ModelSpec, slides: list[LabelledSlide]) -> NDArray[np.float64]:
    """How much each slide counts, (n,), 1 on average; with `balance`, all classes count alike."""
    weights = np.array([slide.weight for slide in slides])
    if spec.training.balance != "none" and spec.task == "multi-class":
        labels = np.array([spec.classes.index(slide.label) for slide in slides])
        weights = weights / np.bincount(labels, weights, len(spec.classes))[labels]
    return np.asarray(weights / weights.mean())


def chance_loss(spec: ModelSpec, slides: list[LabelledSlide]) -> float:
    """The loss of a model that knows how frequent the labels are, but nothing of slides: ln C for C equal classes."""
    weights = slide_weights(spec, slides)
    target = targets(spec, slides, scale_of(spec, slides)).double().numpy()
    if spec.task == "regression":
        return float(np.average(target[:, 0] ** 2, weights=weights))
    if spec.task == "multi-label":
        shares = np.average(target, axis=0, weights=weights)
        return float(_entropy(np.stack([shares, 1 - shares])).mean())
    return float(_entropy(np.bincount(target.astype(int), weights, len(spec.classes)) / weights.sum()))


def _entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(shares * np.log(np.clip(shares, 1e-12, 1))).sum(0))
