"""The feature networks of timm: `timm:NAME`. ResNets are built without timm, which is slow to import."""

from torch import nn

from ats_cli.errors import ModelError
from ats_cli.nets.feature_networks.resnet import LAYERS, ResNet
from ats_cli.records import FeatureSpec


class TimmNetwork:
    """`features.net = "timm:NAME"`, without its classification head. `features.options` are timm's arguments."""

    bf16 = True

    def build(self, spec: FeatureSpec, architecture: str) -> tuple[nn.Module, int]:
        if architecture in LAYERS:
            resnet = ResNet(architecture)
            return resnet, resnet.num_features
        import timm  # slow to import, and only some models need it

        if ":" in architecture:
            raise ModelError(f"feature network {spec.net}: only `ats train` fetches it. Train a model with it first.")
        try:
            config = timm.get_pretrained_cfg(architecture)
            # Transformers are built for one size of patches.
            size = {"img_size": spec.patch_size} if config is not None and config.fixed_input_size else {}
            backbone = timm.create_model(architecture, pretrained=False, num_classes=0, **{**size, **spec.options})
        except RuntimeError as error:
            raise ModelError(
                f"feature network {spec.net}: timm has no model of that name. See timm.list_models()."
            ) from error
        except (AssertionError, TypeError, ValueError) as error:
            raise ModelError(
                f"feature network {spec.net}: cannot be built for patches of {spec.patch_size} pixels ({error}). "
                "Change features.patch_size or features.options."
            ) from error
        # Some architectures have a further layer between the last map and the head.
        width: int = getattr(backbone, "head_hidden_size", None) or backbone.num_features  # type: ignore[assignment]
        return backbone, width


NETWORK = TimmNetwork()
