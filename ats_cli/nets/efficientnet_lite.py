"""EfficientNet-Lite0 without normalisation layers: as a feature network, and its first stages as a frozen trunk.

Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019; the Lite networks have
ReLU6 and no squeeze-and-excitation. The BatchNorms are folded into the convolutions, so that each output depends on a
bounded square of the input and on no other patch.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from ats_cli.errors import ModelError
from ats_cli.records import FeatureSpec

FrozenModule = TypeVar("FrozenModule", bound=nn.Module)


class Stage(NamedTuple):
    """Consecutive blocks; `stride` is that of the first."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STEM, STEM_STRIDE, WIDTH = 32, 2, 1280
STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)


class SameConv(nn.Conv2d):
    """A convolution with bias, padded as TensorFlow's "same" at even sizes: with stride 2 one pixel less before."""

    def __init__(self, into: int, out: int, kernel: int = 1, stride: int = 1, depthwise: bool = False) -> None:
        # With stride 2, one output too many at the start, which is cut off: no padded copy of the input is made.
        padding = kernel // 2 + 1 if stride == 2 else kernel // 2
        super().__init__(into, out, kernel, stride, padding, groups=into if depthwise else 1)
        nn.init.kaiming_normal_(self.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out[..., 1:, 1:] if self.stride[0] == 2 else out

    @property
    def margins(self) -> tuple[int, int]:
        """Pixels of the input that an output depends on, before and beyond its own `stride` pixels."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        before = (kernel - stride) // 2
        return before, kernel - stride - before


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; added to its input where the shapes are equal."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = into * expansion
        self.expand = SameConv(into, width) if expansion > 1 else None
        self.depthwise = SameConv(width, width, kernel, stride, depthwise=True)
        self.project = SameConv(width, out)
        self.residual = stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        inner = functional.relu6(self.depthwise(inner), inplace=True)
        out: Tensor = self.project(inner)
        return out + x if self.residual else out


class Lite0Trunk(nn.Module):
    """The stem and the first `stages` stages: normalised (N, 3, H, W) -> (N, channels, ceil(H / stride), ...).

    `stride`: of all layers together. The input is padded with zeros at the bottom and at the right to a multiple of
    it, so that a part that begins at a multiple is padded as the whole. `before`, `beyond`: how many pixels an output
    depends on, on either side of its own `stride` x `stride` pixels.
    """

    shipped = "lite0"
    """The name of the shipped weights, from which networks of this class begin."""
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)

    def __init__(self, stages: int = len(STAGES)) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, STEM_STRIDE)
        into, built = STEM, []
        for stage in STAGES[:stages]:
            blocks = []
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(InvertedResidual(into, stage.channels, stage.kernel, stride, stage.expansion))
                into = stage.channels
            built.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*built)
        self.channels = into
        self.stride, self.before, self.beyond = 1, 0, 0
        for conv in self.modules():
            if isinstance(conv, SameConv):
                before, beyond = conv.margins
                self.before += before * self.stride
                self.beyond += beyond * self.stride
                self.stride *= conv.stride[0]

    def forward(self, normalised: Tensor) -> Tensor:
        height, width = normalised.shape[-2:]
        padded = functional.pad(normalised, (0, -width % self.stride, 0, -height % self.stride))
        out: Tensor = self.stages(functional.relu6(self.stem(padded), inplace=True))
        return out


class Lite0(Lite0Trunk):
    """Patches (N, 3, p, p) -> features (N, WIDTH): the mean over the last map."""

    def __init__(self) -> None:
        super().__init__()
        self.last = SameConv(self.channels, WIDTH)

    def forward(self, normalised: Tensor) -> Tensor:
        last = functional.relu6(self.last(super().forward(normalised)), inplace=True)
        return last.mean((2, 3))


class Lite0Network:
    """`features.net = "lite0"`: EfficientNet-Lite0 with the ImageNet weights that ship with ats."""

    bf16 = True

    def build(self, spec: FeatureSpec, architecture: str) -> tuple[nn.Module, int]:
        if architecture:
            raise ModelError(f'feature network lite0 has no architectures: write net = "lite0", not {spec.net!r}.')
        return Lite0(), WIDTH


def frozen(module: FrozenModule) -> FrozenModule:
    """Turn the parameters of a module into buffers of the same names: nothing trains them, and they are saved."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())
    return module


NETWORK = Lite0Network()
