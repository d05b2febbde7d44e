"""A frozen feature network in training: in small batches, several at a time, each in one thread."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ats_cli.inference.compute.forward_pool import ForwardPool, one_thread_per_pass
from ats_cli.nets.model import Model

Autocast = Callable[[], AbstractContextManager[None]]

BATCH = 8
"""Patches in one pass: what fits a core's cache."""


def is_frozen(nets: Model) -> bool:
    """Whether the backbone of the features is not trained."""
    return not any(parameter.requires_grad for parameter in nets.features.backbone.parameters())


def encode_frozen(nets: Model, batches: Iterable[Tensor], autocast: Autocast = nullcontext) -> Tensor:
    """Encode batches of patches (b, 3, p, p) in 0..1 -> (n, W), without a gradient.

    A pass in one thread does not wait for other threads, and its result does not depend on their number.
    """
    device = nets.head.weight.device
    threads = torch.get_num_threads() if device.type == "cpu" else 1

    def encode(batch: Tensor) -> Tensor:
        with torch.no_grad(), autocast():  # both are modes of a thread
            return nets.encode_patches(batch.contiguous(memory_format=torch.channels_last).to(device))

    with one_thread_per_pass():
        return torch.cat(list(ForwardPool(threads if threads > 1 else 0).map(encode, batches)))
