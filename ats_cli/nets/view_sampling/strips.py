"""The logits of a view of any size, strip by strip, without a gradient."""

import torch
from torch import Tensor

from ats_cli.nets.attention_crops import LogitsOf


def logits_in_strips(logits_of: LogitsOf, view: Tensor, cell: int, halo: int, strip_pixels: int) -> Tensor:
    """Return the logits (rows, cols) of a view (C, H, W), those of `logits_of(view[None])[0]`, without a gradient.

    A position covers `cell` x `cell` pixels, and its logit depends on at most `halo` pixels beyond them, a multiple of
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
            logits = logits_of(view[None, :, top : last * cell + halo])[0]
            strips.append(logits[first - top // cell : last - top // cell])
    return torch.cat(strips)
