"""A step of training makes no tensor of float64 on its device, which may lack it, as Apple's GPUs do.

The device is the real processor, behind tensors that say they lie elsewhere and refuse float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small import noise, random_nets, small_spec, write_slide
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from ats_cli.nets.model import Model
from ats_cli.sampling import slide_rng
from ats_cli.training.dataset.augment import NONE
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.step import SlideRandomness, draw_tiles, forward_batch
from ats_cli.training.task import losses, targets

DEVICE = torch.device("meta")  # the one that torch knows everywhere; its tensors have no content of their own
TO_COPY = torch.ops.aten._to_copy.default  # type: ignore[attr-defined]


class There(torch.Tensor):
    """A tensor on the device; `here` has its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        if here.dtype == torch.float64:
            raise TypeError("Cannot convert a tensor to float64: the device has no float64")
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, here.shape, strides=here.stride(), dtype=here.dtype, device=DEVICE, requires_grad=here.requires_grad
        )
        made.here = here
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return on_device(function, args, kwargs or {})


class Device(TorchDispatchMode):
    """Within it, what is made on or sent to DEVICE is `There`."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") == DEVICE or any(isinstance(leaf, There) for leaf in leaves((args, kwargs))):
            return on_device(function, args, kwargs)
        return function(*args, **kwargs)


def leaves(tree: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(tree)


def on_device(function: Any, args: Any, kwargs: Any) -> Any:
    stays = function is not TO_COPY or kwargs.get("device") in (None, DEVICE)
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    here = function(*tree_map(arrive, args), **tree_map(arrive, kwargs))
    return tree_map(lambda leaf: There(leaf) if isinstance(leaf, torch.Tensor) else leaf, here) if stays else here


def arrive(leaf: Any) -> Any:
    return leaf.here if isinstance(leaf, There) else leaf


@pytest.fixture
def device() -> Iterator[torch.device]:
    with Device():
        yield DEVICE


def test_the_device_of_this_test_refuses_float64(device: torch.device) -> None:
    moved = torch.arange(3.0).to(device)
    assert moved.device == device and (moved * 2).cpu().tolist() == [0, 2, 4]
    for make in (moved.double, lambda: torch.zeros(2, dtype=torch.float64, device=device)):
        with pytest.raises(TypeError, match="no float64"):
            make()


def moved(nets: Model) -> Model:
    """The same networks on the device."""
    for module in nets.modules():
        for numbers in (module._parameters, module._buffers):
            for name, tensor in numbers.items():
                if tensor is not None:
                    numbers[name] = There(tensor.detach())  # type: ignore[assignment]
    return nets


def test_a_step_of_training(tmp_path: Path, device: torch.device) -> None:
    spec = small_spec(tiles=5)
    slides = [
        LabelledSlide(name, write_slide(tmp_path / f"{name}.tif", noise(90, 120, number)), label)
        for number, (name, label) in enumerate({"a": "bright", "b": "dark"}.items())
    ]
    found = []
    for nets in (random_nets(spec), moved(random_nets(spec))):
        with SlideStore(spec, 10**9, 1) as store, torch.no_grad():
            randomness = [SlideRandomness(NONE, slide_rng(0, slide.slide_id)) for slide in slides]
            output = forward_batch(nets, draw_tiles(nets, store, slides, randomness))
            target = targets(spec, slides, (0.0, 1.0)).to(output.logits.device)
            found.append([output.logits, losses(spec, output.logits, target), output.entropy, output.effective])
    for here, there in zip(*found, strict=True):
        assert torch.allclose(here, there.cpu(), atol=1e-5)
