"""The attention's gradient from crops of the view around the drawn positions, without a backward pass over the view.

With logits s and attention a = softmax(s), the gradient of F = sum_k a_k f_k is the covariance sum_k a_k (f_k - F)
grad s_k. It needs no normaliser, so the drawn positions suffice: one pass without a gradient gives attention and draw,
and the network runs with a gradient on the receptive fields of the drawn positions only.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LogitsOf = Callable[[Tensor], Tensor]
"""Crops (m, C, h, w) of a source -> logits of positions (m, ceil(h / cell), ceil(w / cell))."""


def logits_at(logits_of: LogitsOf, source: Tensor, positions: NDArray[np.int64], cell: int, halo: int) -> Tensor:
    """Return the logits (n,) of flat positions (n,) of `source` (C, H, W), with their gradient.

    They are those of `logits_of(source[None])`: a position covers `cell` x `cell` pixels of the source, and its logit
    depends on at most `halo` pixels beyond them, a multiple of `cell`. Crops lie within the source, so that its edge is
    an edge of the crop too. Where all crops together are no smaller than the source, the source is taken whole.
    """
    height, width = source.shape[-2:]
    row, col = np.divmod(positions, -(-width // cell))
    side = cell + 2 * halo
    if len(positions) * min(side, height) * min(side, width) >= height * width:
        return logits_of(source[None])[0][torch.from_numpy(row), torch.from_numpy(col)]
    top, left = _starts(row, height, cell, halo), _starts(col, width, cell, halo)
    shapes = np.stack([np.minimum(side, height - top), np.minimum(side, width - left)], axis=1)
    kinds, kind_of = np.unique(shapes, axis=0, return_inverse=True)
    found, order = [], []
    for kind, (rows, cols) in enumerate(kinds):
        members = np.flatnonzero(kind_of.ravel() == kind)
        crops = torch.stack(
            [source[:, y : y + rows, x : x + cols] for y, x in zip(top[members], left[members], strict=True)]
        )
        logits = logits_of(crops)
        at_row, at_col = row[members] - top[members] // cell, col[members] - left[members] // cell
        found.append(logits[torch.arange(len(members)), torch.from_numpy(at_row), torch.from_numpy(at_col)])
        order.append(members)
    return torch.cat(found)[torch.from_numpy(np.argsort(np.concatenate(order)))]


def _starts(cells: NDArray[np.int64], length: int, cell: int, halo: int) -> NDArray[np.int64]:
    """Where the crops of these rows or columns begin: multiples of `cell` in 0..length."""
    last = max(0, -(-length // cell) * cell - (cell + 2 * halo))
    return np.clip(cells * cell - halo, 0, last)


def weights_with_gradient(
    weights: Tensor, logits: Tensor, ratio: Tensor, uniform: float, factor: float = 1.0
) -> Tensor:
    """Return the weights (n,) of a draw, which carry the attention's gradient to whatever is pooled with them.

    sum_i w_i (1 + d_i) f_i has the value sum_i w_i f_i; its gradient in the logits is the covariance under the draw's
    own mean. With ds_i = s_i - sg(s_i), sg = stop gradient, e = `uniform` and p = `factor`,

        d_i = r_i ((1 + (p - 1) r_i / (1 - e)) ds_i - p sum_j w_j r_j ds_j / (1 - e));

    where no share is spread evenly, that is p (ds_i - sum_j w_j ds_j).

    `logits` (n,) at the drawn positions, with their graph. `uniform`: the share of the attention that is spread
    evenly; `ratio` (n,): r, the other part's share of the attention at each. `factor`: `Draw.own_mean_factor`. For n
    independent draws it is n / (n - 1): the sum is then over pairs of different draws, and the gradient is unbiased.
    That of other samplers misses it by the covariance of the estimate with sum_i w_i grad s_i, of order 1 / n.
    """
    change = logits - logits.detach()
    mean = (weights * ratio * change).sum() / (1 - uniform)
    own = 1 + (factor - 1) * ratio / (1 - uniform)
    return weights * (1 + ratio * (own * change - factor * mean))


def estimate_of_two_draws(
    features: Tensor,
    weights: Tensor,
    logits: Tensor,
    ratio: Tensor,
    mean_change: Tensor,
    centre: Tensor,
    uniform: float,
) -> Tensor:
    """Return F = sum_i w_i f_i, (D,), with an attention gradient that is unbiased for every sampler.

    The gradient is sum_i w_i r_i (f_i - c) grad s_i - (sum_i w_i r_i (f_i - c)) sum_q w_q r_q grad s_q / (1 - e), where
    q is a second draw from the same attention, of which no tile is read. `mean_change`: its sum_q w_q r_q (s_q -
    sg(s_q)). `centre` (D,): any c that does not depend on this draw, such as a moving average of F.
    """
    change = logits - logits.detach()
    moments = (weights * ratio)[:, None] * (features.detach() - centre)
    slope = (change[:, None] * moments).sum(0) - moments.sum(0) * mean_change / (1 - uniform)
    return (weights[:, None] * features).sum(0) + slope


def entropy_with_gradient(
    entropy: float, weights: Tensor, logits: Tensor, ratio: Tensor, log_attention: Tensor, mean_log: float
) -> Tensor:
    """Return the entropy of an attention, (), whose gradient, estimated from one draw, is exactly unbiased.

    grad H = -sum_i w_i r_i (log a_i - m) grad s_i, where m, `mean_log`, is sum_k softmax_k log a_k over all positions:
    -H where no share is spread evenly. `entropy`: the value, of all positions.
    """
    change = logits - logits.detach()
    return entropy - (weights * ratio * (log_attention - mean_log) * change).sum()
