"""Which parts of a model learn in a step, and at which rate."""

from typing import Any

import torch

from ats_cli.nets.model import Model
from ats_cli.records import TrainingSpec


def parameter_groups(nets: Model, recipe: TrainingSpec) -> list[dict[str, Any]]:
    """The parts that learn, each with its factor on the learning rate."""
    factors = {nets.attention: recipe.lr_attention, nets.features: recipe.lr_features, nets.head: recipe.lr_head}
    return [{"params": list(net.parameters()), "factor": factor} for net, factor in factors.items() if factor > 0]


def set_rates(optimiser: torch.optim.Optimizer, recipe: TrainingSpec, step: int) -> None:
    for group in optimiser.param_groups:
        group["lr"] = recipe.lr * group["factor"] * min(1.0, (1 - (step - 1) / recipe.steps) / 0.3)


def set_modes(nets: Model, recipe: TrainingSpec, step: int) -> None:
    """What learns in this step. A part with factor 0 is as in prediction, and so are the running statistics of
    pretrained feature nets: a patch's features then do not depend on those beside it."""
    nets.train()
    nets.attention.requires_grad_(recipe.lr_attention > 0 and step > recipe.freeze * recipe.steps)
    for net, factor in ((nets.features, recipe.lr_features), (nets.head, recipe.lr_head)):
        net.requires_grad_(factor > 0).train(factor > 0)
    if nets.spec.features.pretrained:
        for module in nets.features.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
