"""The feature network `cnn`: a small convolutional network, as in the paper."""

from torch import Tensor, nn

from ats_cli.errors import ModelError
from ats_cli.records import FeatureSpec


class SmallCNN(nn.Module):
    """Four convolutions with GroupNorm, and the maximum over the last map.

    After Katharopoulos and Fleuret (ICML 2019), with GroupNorm instead of BatchNorm: the features of a patch must not
    depend on the other patches of the batch.
    """

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, last = channels
        self.layers = nn.Sequential(
            *_block(3, first, 5, 2),
            *_block(first, second, 3, 2),
            *_block(second, third, 3, 1),
            nn.Conv2d(third, last, 3, padding=1),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (N, 3, p, p) -> features (N, last)."""
        out: Tensor = self.layers(patches)
        return out.amax((2, 3))


class SmallCNNNetwork:
    """`features.net = "cnn"`, with `features.channels`."""

    bf16 = False  # float32 is faster

    def build(self, spec: FeatureSpec, architecture: str) -> tuple[nn.Module, int]:
        if architecture:
            raise ModelError(f'feature network cnn has no architectures: write net = "cnn", not {spec.net!r}.')
        channels = spec.channels
        if len(channels) != 4 or any(c % 4 for c in channels[:3]):
            raise ModelError(
                "feature network cnn: channels must be four numbers, the first three multiples of 4, not "
                f"{list(channels)}."
            )
        return SmallCNN((channels[0], channels[1], channels[2], channels[3])), channels[-1]


def _block(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.GroupNorm(4, outputs), nn.ReLU(inplace=True)


NETWORK = SmallCNNNetwork()
