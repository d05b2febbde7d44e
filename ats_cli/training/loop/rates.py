"""Learning rates and training modes of the parts of a model."""

from typing import Any

import torch

from ats_cli.nets.model import Model
from ats_cli.records import TrainingSpec


def parameter_groups(nets: Model, recipe: TrainingSpec) -> list[dict[str, Any]]:
    """Parameter groups of the parts that are trained, each with its factor on the learning rate.

    The feature network's projection and the gate, layers that no pretrained weights have, are of the head's group.
    """
    groups = (
        ([nets.attention], recipe.lr_attention),
        ([nets.features.backbone], recipe.lr_features),
        ([net for net in (nets.features.projection, nets.gate, nets.head) if net is not None], recipe.lr_head),
    )
    return [
        {"params": [p for net in members for p in net.parameters()], "factor": factor}
        for members, factor in groups
        if factor > 0
    ]


def set_rates(optimiser: torch.optim.Optimizer, recipe: TrainingSpec, step: int) -> None:
    """Set the learning rates of `step`, from 1: constant, then linear to 0 over the last 30 % of the steps."""
    for group in optimiser.param_groups:
        group["lr"] = recipe.lr * group["factor"] * min(1.0, (1 - (step - 1) / recipe.steps) / 0.3)


def set_modes(nets: Model, recipe: TrainingSpec, step: int) -> None:
    """Set what is trained in `step`. The attention network is frozen for the first `freeze` share of the steps.

    A part with factor 0 is in eval mode, and so are the BatchNorm layers of a pretrained feature network: the features
    of a patch then do not depend on the other patches of the batch.
    """
    nets.train()
    nets.attention.requires_grad_(recipe.lr_attention > 0 and step > recipe.freeze * recipe.steps)
    parts = (
        (nets.features.backbone, recipe.lr_features),
        (nets.features.projection, recipe.lr_head),
        (nets.gate, recipe.lr_head),
    )
    for net, factor in (*parts, (nets.head, recipe.lr_head)):
        if net is not None:
            net.requires_grad_(factor > 0).train(factor > 0)
    if nets.spec.features.pretrained:
        for module in nets.features.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
