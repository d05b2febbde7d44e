"""Training sees the right slope on average: value and gradients of the estimate, over every possible sample.

One formula serves all schemes. On maps small enough to enumerate, its mean over all samples is compared with the
full expectation: its value, its gradient in the attention's logits (through the whole softmax), and in the features.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from enumerators import (
    Sample,
    murthy_samples,
    systematic_samples,
    with_replacement_samples,
    without_replacement_samples,
)
from torch import Tensor

from ats_cli.nets.estimate import expected_features
from ats_cli.sampling.hilbert import hilbert_order

LOGITS = {
    "spread": [0.3, 0.1, 0.8, -0.4, 0.5, 0.0],
    "peaked": [-1.0, 4.0, 0.5, 0.7, -3.0],
    "ties": [0.0, 0.0, 0.0, 0.0],
    "three": [2.0, -1.0, 0.0],
}


def along_a_shuffle(attention: np.ndarray, tiles: int) -> Iterator[Sample]:
    return systematic_samples(attention, tiles, np.random.default_rng(1).permutation(len(attention)))


def along_the_curve(attention: np.ndarray, tiles: int) -> Iterator[Sample]:
    return systematic_samples(attention, tiles, hilbert_order(1, len(attention)))


SCHEMES = {
    "without-replacement": without_replacement_samples,
    "murthy": murthy_samples,
    "with-replacement": with_replacement_samples,
    "systematic": along_the_curve,
    "systematic, shuffled": along_a_shuffle,
}
Samples = Callable[[np.ndarray, int], Iterator[Sample]]


def slopes(logits: Tensor, features: Tensor, estimate: Tensor, probe: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The estimate (D,) and the gradients of a scalar of it in logits (K,) and features (K, D)."""
    by_logits, by_features = torch.autograd.grad((estimate * probe).sum(), (logits, features), retain_graph=True)
    return estimate.detach(), by_logits, by_features


# With as many tiles as positions nothing is left to chance, and these two are not asked.
CASES = [
    (scheme, name, tiles)
    for scheme in SCHEMES
    for name, logits in LOGITS.items()
    for tiles in range(1, min(4, len(logits) - scheme.startswith(("systematic", "murthy"))) + 1)
]


@pytest.mark.integration
@pytest.mark.parametrize("centre", [None, [0.4, -2.0]], ids=["", "centred"])
@pytest.mark.parametrize(("scheme", "name", "tiles"), CASES)
def test_value_and_gradients_are_right_on_average(
    scheme: str, name: str, tiles: int, centre: list[float] | None
) -> None:
    logits = torch.tensor(LOGITS[name], dtype=torch.float64, requires_grad=True)
    positions = len(logits)
    rng = np.random.default_rng(0)
    features = torch.tensor(rng.standard_normal((positions, 2)), requires_grad=True)
    probe = torch.tensor([1.0, -0.7], dtype=torch.float64)
    attention = logits.softmax(0)
    middle = None if centre is None else torch.tensor(centre, dtype=torch.float64)
    exact = slopes(logits, features, (attention[:, None] * features).sum(0), probe)

    total = 0.0
    mean = [torch.zeros_like(part) for part in exact]
    samples: Samples = SCHEMES[scheme]
    for drawn, weights, probability in samples(attention.detach().numpy(), tiles):
        index = torch.from_numpy(drawn)
        estimate = expected_features(features[index], attention[index], torch.from_numpy(weights), middle)
        for kept, part in zip(mean, slopes(logits, features, estimate, probe), strict=True):
            kept += probability * part
        total += probability

    assert total == pytest.approx(1, abs=1e-12)
    for what, kept, part in zip(("value", "logits", "features"), mean, exact, strict=True):
        assert (kept - part).abs().max() < 1e-9, what


def test_the_weights_themselves_have_no_gradient() -> None:
    weights = torch.tensor([0.6, 0.4], dtype=torch.float64, requires_grad=True)
    attention = torch.tensor([0.5, 0.1], dtype=torch.float64, requires_grad=True)
    expected_features(torch.ones(2, 3, dtype=torch.float64), attention, weights).sum().backward()
    assert weights.grad is None
    assert attention.grad is not None


def test_a_batch_is_estimated_image_by_image() -> None:
    features, attention, weights = torch.rand(4, 5, 3), torch.rand(4, 5) + 0.1, torch.rand(4, 5)
    together = expected_features(features, attention, weights)
    for b in range(4):
        torch.testing.assert_close(together[b], (weights[b, :, None] * features[b]).sum(0))
