"""ResNets with the names of timm's and torchvision's weights, and the same features to the last bit.

They are the most common backbones; here they do not need timm, which takes seconds to import.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016; a bottleneck's stride is in its 3x3 convolution.
"""

from torch import Tensor, nn

LAYERS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Blocks in each of the four stages; bottlenecks from resnet50 on."""


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; or 1x1, 3x3, 1x1 with a fourfold width at the end."""

    def __init__(self, into: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        self.conv1 = _conv(into, width, 1 if bottleneck else 3, 1 if bottleneck else stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride if bottleneck else 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv3 = _conv(width, out, 1, 1)
            self.bn3 = nn.BatchNorm2d(out)
        self.act = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or into != out:
            self.downsample = nn.Sequential(_conv(into, out, 1, stride), nn.BatchNorm2d(out))
        # An untrained block is the identity.
        nn.init.zeros_((self.bn3 if bottleneck else self.bn2).weight)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.bottleneck:
            out = self.bn3(self.conv3(self.act(out)))
        out += shortcut
        activated: Tensor = self.act(out)
        return activated


class ResNet(nn.Module):
    """Patches (N, 3, p, p) -> features (N, `num_features`): the mean over the last map."""

    def __init__(self, name: str) -> None:
        super().__init__()
        layers = LAYERS[name]
        bottleneck = name not in ("resnet18", "resnet34")
        self.num_features = 2048 if bottleneck else 512
        self.conv1 = _conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        wider = 4 if bottleneck else 1
        self.layer1 = _stage(64, 64, layers[0], 1, bottleneck)
        self.layer2 = _stage(64 * wider, 128, layers[1], 2, bottleneck)
        self.layer3 = _stage(128 * wider, 256, layers[2], 2, bottleneck)
        self.layer4 = _stage(256 * wider, 512, layers[3], 2, bottleneck)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.maxpool(self.act1(self.bn1(self.conv1(patches))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        mean: Tensor = x.mean((2, 3))
        return mean


def _stage(into: int, width: int, blocks: int, stride: int, bottleneck: bool) -> nn.Sequential:
    out = 4 * width if bottleneck else width
    others = (Block(out, width, 1, bottleneck) for _ in range(blocks - 1))
    return nn.Sequential(Block(into, width, stride, bottleneck), *others)


def _conv(into: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
