"""Pretrained weights that ship with ats, and the trunks of a model that begin with them.

A trunk that no training changed is left out of the model's file: model.toml names it and its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ats_cli.errors import ModelError
from ats_cli.nets.model import Model
from ats_cli.records import ModelSpec

FOLDER = Path(__file__).parents[1] / "_weights"


@cache
def shipped_weights(name: str) -> dict[str, Tensor]:
    """Return the weights called `name`, in float32. Not to be changed: they are read once in a process.

    Raises ModelError if their file cannot be read.
    """
    file = FOLDER / f"{name}.safetensors"
    try:
        return {key: tensor.to(torch.float32) for key, tensor in load_file(file).items()}
    except Exception as error:  # the reader of a damaged file raises errors of many types
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file}: not readable ({reason}). It ships with ats: install ats again.") from error


@cache
def shipped_hash(name: str) -> str:
    """Return the first 16 hex digits of the sha256 of a file of weights."""
    return hashlib.sha256((FOLDER / f"{name}.safetensors").read_bytes()).hexdigest()[:16]


def ships(name: str) -> bool:
    """Whether weights of this name ship with ats."""
    return (FOLDER / f"{name}.safetensors").is_file()


def fill_in(nets: Model) -> None:
    """Load the shipped weights into all trunks of a model. Raises ModelError if they cannot be read."""
    for _, trunk, name in _trunks(nets):
        trunk.load_state_dict(_own_part(trunk, name))


def without_shipped(nets: Model, tensors: Mapping[str, Tensor]) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Return the spec that names the trunks whose weights are the shipped ones to the bit, and the other `tensors`."""
    left, named = dict(tensors), {"attention": "", "features": ""}
    for path, trunk, name in _trunks(nets):
        shipped = {f"{path}.{key}": tensor for key, tensor in _own_part(trunk, name).items()}
        if all(torch.equal(tensors[key], tensor) for key, tensor in shipped.items()):
            named[path.partition(".")[0]] = f"{name}:{shipped_hash(name)}"
            left = {key: tensor for key, tensor in left.items() if key not in shipped}
    return _naming(nets.spec, named), left


def with_shipped(nets: Model, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the tensors of a model's file with those of the trunks that its spec names.

    Raises ModelError, beginning with `where`, if the shipped weights are not those that the model was trained with.
    """
    found = dict(tensors)
    trunks = {path.partition(".")[0]: (path, trunk, name) for path, trunk, name in _trunks(nets)}
    for table, named in (("attention", nets.spec.attention.trunk), ("features", nets.spec.features.trunk)):
        if not named:
            continue
        path, trunk, name = trunks.get(table, ("", nets, ""))
        given, _, given_hash = named.partition(":")
        if given != name:
            raise ModelError(f"{where}: {table}.trunk: its network begins with no weights called {given!r}. Fix it.")
        if given_hash != shipped_hash(name):
            raise ModelError(
                f"{where}: {table}.trunk: the model was trained on weights {given} of hash {given_hash}, but this ats "
                f"ships {shipped_hash(name)}. Use the version of ats that it was trained with, or train again."
            )
        found |= {f"{path}.{key}": tensor for key, tensor in _own_part(trunk, name).items()}
    return found


def _trunks(nets: Model) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (path in `nets`, module, name of its weights) of the modules for which weights ship."""
    for path, module in nets.named_modules():
        if isinstance(name := getattr(module, "shipped", None), str):
            yield path, module, name


def _own_part(trunk: nn.Module, name: str) -> dict[str, Tensor]:
    """The shipped weights of a trunk, which may have fewer layers than there are."""
    weights = shipped_weights(name)
    return {key: weights[key] for key in trunk.state_dict()}


def _naming(spec: ModelSpec, named: Mapping[str, str]) -> ModelSpec:
    attention = replace(spec.attention, trunk=named["attention"])
    return replace(spec, attention=attention, features=replace(spec.features, trunk=named["features"]))
