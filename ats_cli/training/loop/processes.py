"""Devices, processes and precision, by Lightning Fabric."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric

from ats_cli.errors import AtsError
from ats_cli.inference.executors.executor import usable_cores
from ats_cli.nets.model import Model

TORCH_THREADS = "threads of torch (OMP_NUM_THREADS)"
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def launch(device: str = "cpu", devices: int = 1, precision: str = "fp32") -> Fabric:
    """Start the processes that share a training, one a device.

    Unless torchrun started them, this process starts the others with its own command line. Each process computes the
    same batches and processes its share. Raises AtsError for a precision or a number of devices that is not available.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices))
    kind, _, index = device.partition(":")
    if precision not in PRECISIONS:
        raise AtsError(f"--precision {precision}: not known. Choose {', '.join(PRECISIONS)}.")
    if precision == "fp16" and kind != "cuda":
        raise AtsError("--precision fp16 needs a CUDA device. Choose bf16 or fp32.")
    if kind == "cuda" and not index and devices > torch.cuda.device_count():
        raise AtsError(f"--devices {devices}: there are {torch.cuda.device_count()} CUDA devices here.")
    nodes = int(os.environ.get("WORLD_SIZE", devices)) // devices if "LOCAL_WORLD_SIZE" in os.environ else 1
    fabric = Fabric(
        accelerator=kind,
        devices=[int(index)] if index and devices == 1 else devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def first_process() -> bool:
    """Whether this process writes files and messages. Valid before `launch`, too."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Within the block torch computes in `threads` threads; None for as many as before.

    A sum over threads depends on their number in its last digits, so a resumed training takes the number that it was
    begun with, unless that is more than the cores of this process.
    """
    before = torch.get_num_threads()
    if threads is not None and threads <= max(before, usable_cores()):
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computation(device: str, devices: int) -> dict[str, Any]:
    """The settings that decide the order of additions, and so the last digits of the weights."""
    return {
        "device": device,
        "processes": int(os.environ.get("WORLD_SIZE", devices)),
        TORCH_THREADS: torch.get_num_threads(),
        "torch": torch.__version__,
    }


def add_up(fabric: Fabric, values: torch.Tensor) -> torch.Tensor:
    """The sum over all processes."""
    if fabric.world_size == 1:
        return values
    total: Any = fabric.all_reduce(values.clone(), reduce_op="sum")
    return torch.as_tensor(total)


def add_up_gradients(fabric: Fabric, nets: Model) -> None:
    """Sum the gradients over all processes, in one message: the networks are small."""
    if fabric.world_size == 1:
        return
    grads = [p.grad for p in nets.parameters() if p.grad is not None]
    flat = add_up(fabric, torch.cat([grad.flatten() for grad in grads]))
    for grad, total in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
        grad.copy_(total.view_as(grad))


def take_from_first(fabric: Fabric, nets: Model) -> None:
    """Take over the weights of the first process: what each computed for itself may differ in its last digits."""
    if fabric.world_size > 1:
        nets.load_state_dict(fabric.broadcast(nets.state_dict()))


def average_statistics(fabric: Fabric, nets: Model) -> None:
    """Average the running statistics of BatchNorm layers in training mode over all processes.

    Validation is shared among the processes, and a checkpoint holds the statistics of one.
    """
    if fabric.world_size == 1:
        return
    norms = [m for m in nets.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.training]
    own = [t for m in norms for t in (m.running_mean, m.running_var) if t is not None]
    if own:
        flat = add_up(fabric, torch.cat(own)) / fabric.world_size
        for tensor, mean in zip(own, torch.split(flat, [len(tensor) for tensor in own]), strict=True):
            tensor.copy_(mean)
