"""A checkpoint is one file: tensors in safetensors, all other state as JSON in its header. Nothing executable."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ats_cli.errors import AtsError
from ats_cli.results.files import write_whole

Tensors = dict[str, Tensor]
CHECKSUM = "sha256"


def write_checkpoint(path: Path, tensors: Tensors, state: dict[str, Any]) -> None:
    """Write one file, atomically, with a checksum. `state` holds JSON values only."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry of the header only: safetensors writes several in any order.
    write_whole(path, save(on_cpu, {"state": json.dumps({**state, CHECKSUM: _digest(on_cpu, state)})}))


def read_checkpoint(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return (tensors on the CPU, state). Raises AtsError if the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        written = state.pop(CHECKSUM, None)  # earlier versions wrote none
        if written is not None and written != _digest(tensors, state):
            raise ValueError("its content differs from its checksum")
        return tensors, state
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise AtsError(
            f"{path}: not a readable checkpoint ({error}). Delete it, or train into a new folder."
        ) from error


def _digest(tensors: Tensors, state: dict[str, Any]) -> str:
    """Return the SHA-256 of contiguous tensors on the CPU, with their names and shapes, and of the state."""
    digest = hashlib.sha256(json.dumps(state).encode())
    for name, tensor in sorted(tensors.items(), key=lambda item: item[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    """The optimiser's state of each parameter, named `optimiser.NUMBER.KEY`."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{i}.{key}": torch.as_tensor(value) for i, own in state.items() for key, value in own.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Load what `optimiser_tensors` returned. Parameter groups and their rates stay the optimiser's own."""
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            number, _, key = rest.partition(".")
            state.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """NAME -> PREFIX.NAME."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors named PREFIX.NAME, by NAME."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
