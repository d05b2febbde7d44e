"""The feature net: patches in, L2-normalised features out."""

from torch import Tensor, nn
from torch.nn import functional

from ats_cli.nets.resnet import LAYERS, ResNet
from ats_cli.records import FeatureSpec, ModelError


class FeatureNet(nn.Module):
    """Runs the backbone and scales the features to length 1."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.backbone, self.width = _build(spec)

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised patches (N, 3, p, p) -> features (N, D) of length 1, float32 whatever the backbone is."""
        raw: Tensor = self.backbone(patches.to(next(self.backbone.parameters()).dtype))
        return functional.normalize(raw.float(), dim=1)


class SmallCNN(nn.Module):
    """The paper's kind of feature net: convolutions with GroupNorm, global maximum.

    GroupNorm rather than BatchNorm: a patch's features must not depend on the patches beside it in a batch.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third, last = channels
        self.layers = nn.Sequential(
            *_block(3, first, 5, 2),
            *_block(first, second, 3, 2),
            *_block(second, third, 3, 1),
            nn.Conv2d(third, last, 3, padding=1),
        )

    def forward(self, patches: Tensor) -> Tensor:
        out: Tensor = self.layers(patches)
        return out.amax((2, 3))


def _block(into: int, out: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(into, out, kernel, stride, kernel // 2), nn.GroupNorm(4, out), nn.ReLU(inplace=True)


def _build(spec: FeatureSpec) -> tuple[nn.Module, int]:
    if spec.net == "cnn":
        if len(spec.channels) != 4 or any(c % 4 for c in spec.channels[:3]):
            raise ModelError(
                f"feature net cnn: channels must be four numbers, the first three multiples of 4, not "
                f"{list(spec.channels)}"
            )
        return SmallCNN(spec.channels), spec.channels[-1]
    kind, _, name = spec.net.partition(":")
    if kind == "timm" and name in LAYERS:
        resnet = ResNet(name)
        return resnet, resnet.num_features
    if kind == "timm":
        return _timm(spec, name)
    raise ModelError(f'feature net {spec.net!r} is not known. Choose "cnn" or a timm model, "timm:resnet18".')


def _timm(spec: FeatureSpec, name: str) -> tuple[nn.Module, int]:
    """A timm model without its head, for patches of the model's size; weights are random until loaded."""
    import timm  # slow to import, and only some models need it

    if ":" in name:
        raise ModelError(f"feature net {spec.net}: `ats train` fetches it, and writes down what it is.")
    try:
        facts = timm.get_pretrained_cfg(name)
        # Transformers are built for one size of patches.
        size = {"img_size": spec.patch_size} if facts is not None and facts.fixed_input_size else {}
        backbone = timm.create_model(name, pretrained=False, num_classes=0, **{**size, **spec.options})
    except RuntimeError as error:
        raise ModelError(f"feature net {spec.net}: timm has no model of that name. See timm.list_models().") from error
    except (AssertionError, TypeError, ValueError) as error:
        raise ModelError(
            f"feature net {spec.net}: cannot be built for patches of {spec.patch_size} pixels ({error}). Change "
            "features.patch_size or features.options."
        ) from error
    # Some have a layer more between the last map and the head that was left out.
    width: int = getattr(backbone, "head_hidden_size", None) or backbone.num_features  # type: ignore[assignment]
    return backbone, width
