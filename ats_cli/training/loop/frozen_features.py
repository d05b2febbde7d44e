"""A frozen feature network in training: in small batches, several at a time, each in one thread."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ats_cli.inference.compute.forward_pool import ForwardPool, one_thread_per_pass
from ats_cli.nets.model import Model

BATCH = 8
"""Patches in one pass: what fits a core's cache."""


def is_frozen(nets: Model) -> bool:
    """Whether the backbone of the features is not trained."""
    return not any(parameter.requires_grad for parameter in nets.features.backbone.parameters())


def encode_frozen(nets: Model, batches: Iterable[Tensor]) -> Tensor:
    """Encode batches of patches (b, 3, p, p) in 0..1 -> (n, W), without a gradient.

    A pass in one thread does not wait for other threads, and its result does not depend on their number.
    """
    device, autocast = nets.head.weight.device, torch.is_autocast_enabled(nets.head.weight.device.type)
    threads = torch.get_num_threads() if device.type == "cpu" else 1

    def encode(batch: Tensor) -> Tensor:
        # Both modes belong to a thread.
        with torch.no_grad(), torch.autocast(device.type, enabled=autocast):
            return nets.encode_patches(batch.contiguous(memory_format=torch.channels_last).to(device))

    with one_thread_per_pass():
        return torch.cat(list(ForwardPool(threads if threads > 1 else 0).map(encode, batches)))
