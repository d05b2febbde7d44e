"""A local function over an image too large for one call: in strips that overlap by its halo."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_strips(function: Callable[[Tensor], Tensor], source: Tensor, cell: int, halo: int, pixels: int) -> Tensor:
    """Return `function(source[None])[0]` of a source (C, H, W), computed in strips of about `pixels` pixels.

    `function` maps (1, C, h, w) to (1, ..., ceil(h / cell), ceil(w / cell)); a cell of its result depends on at most
    `halo` pixels beyond it, a multiple of `cell`.
    """
    height, width = source.shape[-2:]
    rows = -(-height // cell)
    rows_of_strip = max(1, pixels // (width * cell))
    if rows_of_strip >= rows:
        return function(source[None])[0]
    strips = []
    for first in range(0, rows, rows_of_strip):
        last = min(first + rows_of_strip, rows)
        top = max(0, first * cell - halo)
        strip = function(source[None, :, top : last * cell + halo])[0]
        strips.append(strip[..., first - top // cell : last - top // cell, :])
    return torch.cat(strips, dim=-2)
