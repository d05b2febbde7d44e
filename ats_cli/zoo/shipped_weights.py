"""Pretrained weights that ship with ats, and the trunks of a model that begin with them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

FOLDER = Path(__file__).parents[1] / "_weights"


@cache
def shipped_weights(name: str) -> dict[str, Tensor]:
    """Return the weights called `name`, in float32. Not to be changed: they are read once in a process."""
    return {key: tensor.to(torch.float32) for key, tensor in load_file(FOLDER / f"{name}.safetensors").items()}


def trunks(nets: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (path in `nets`, module, name of its weights) of the modules for which weights ship."""
    for path, module in nets.named_modules():
        if isinstance(name := getattr(module, "shipped", None), str):
            yield path, module, name


def fill_in(nets: nn.Module) -> None:
    """Load the shipped weights into all trunks of a model; a trunk may have fewer layers than the weights."""
    for _, module, name in trunks(nets):
        weights = shipped_weights(name)
        module.load_state_dict({key: weights[key] for key in module.state_dict()})
