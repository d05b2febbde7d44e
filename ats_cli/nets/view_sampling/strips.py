"""A local function of a view of any size, strip by strip, without a gradient."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_strips(function: Callable[[Tensor], Tensor], view: Tensor, cell: int, halo: int, strip_pixels: int) -> Tensor:
    """Return `function(view[None])[0]`, (..., rows, cols), of a view (C, H, W), without a gradient.

    A cell of the result covers `cell` x `cell` pixels, and depends on at most `halo` pixels beyond them, a multiple of
    `cell`. A strip has about `strip_pixels` pixels, and its halo: memory does not grow with the view's height.
    """
    height, width = view.shape[-2:]
    rows = -(-height // cell)
    step = max(1, strip_pixels // (width * cell))
    strips = []
    with torch.no_grad():
        for first in range(0, rows, step):
            last = min(first + step, rows)
            top = max(0, first * cell - halo)
            values = function(view[None, :, top : last * cell + halo])[0]
            strips.append(values[..., first - top // cell : last - top // cell, :])
    return torch.cat(strips, dim=-2)
