"""A training as one file: tensors in safetensors, everything else as JSON in its header. Nothing executable."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ats_cli.records import AtsError
from ats_cli.results.files import write_whole

Tensors = dict[str, Tensor]


def write_checkpoint(path: Path, tensors: Tensors, state: dict[str, Any]) -> None:
    """Write both into one file, which is whole or as it was before. `state` holds JSON values only."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(held, {"state": json.dumps(state)}))


def read_checkpoint(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """(tensors on the CPU, state). Raises AtsError with a sentence."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise AtsError(
            f"{path}: not a readable checkpoint ({error}). Delete it, or train into a new folder."
        ) from error


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    """What an optimiser remembers of each parameter, by `optimiser.NUMBER.KEY`."""
    remembered = optimiser.state_dict()["state"]
    return {
        f"optimiser.{i}.{key}": torch.as_tensor(value) for i, own in remembered.items() for key, value in own.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Give it back. The groups, and their rates, are the optimiser's own."""
    remembered: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            number, _, key = rest.partition(".")
            remembered.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict({"state": remembered, "param_groups": optimiser.state_dict()["param_groups"]})


def part(tensors: Tensors, kind: str) -> Tensors:
    """The tensors named KIND.NAME, by NAME."""
    return {name.removeprefix(kind + "."): t for name, t in tensors.items() if name.startswith(kind + ".")}
