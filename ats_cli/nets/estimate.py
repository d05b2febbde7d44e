"""The differentiable estimate of the expected features: one surrogate for every sampling scheme."""

from torch import Tensor


def expected_features(features: Tensor, attention: Tensor, weights: Tensor, centre: Tensor | None = None) -> Tensor:
    """Return F = sum_i sg(w_i) * (a_i / sg(a_i)) * f_i, (..., D), with sg = stop gradient.

    `features` (..., n, D) of the drawn tiles, `attention` (..., n) at them, with its graph back to the attention
    network, `weights` (..., n) from `sampling`.

    With weights such that E[sum w_i h_i] = sum_k a_k h_k for every h, the value is unbiased for sum_k a_k f_k, and
    so are the gradients: d/da_k of the expectation is f_k, and E[sum w_i / a_i * f_i * da_i] = sum_k f_k da_k. No
    backward of its own is needed.

    With a `centre` c, (D,), the attention's gradient is taken on f_i - c: attention sums to 1, so the expectation
    is the same for any c that does not depend on this sample (a moving average of F); the gradient's variance falls.
    """
    ratio = attention / attention.detach()
    weights = weights.detach()
    if centre is None:
        return ((weights * ratio).unsqueeze(-1) * features).sum(-2)
    slope = (weights * (ratio - 1)).unsqueeze(-1) * (features.detach() - centre.detach())
    return (weights.unsqueeze(-1) * features + slope).sum(-2)
