"""Feature networks: from patches to L2-normalised features. The protocol, and the network that a spec names."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

from ats_cli.errors import AtsError, ModelError
from ats_cli.records import FeatureSpec
from ats_cli.registry import FEATURE_NETWORKS


class FeatureNetwork(Protocol):
    """A member of FEATURE_NETWORKS.

    `bf16`: whether `--precision auto` computes it in bfloat16 where the device supports that natively.
    """

    @property
    def bf16(self) -> bool: ...

    def build(self, spec: FeatureSpec, architecture: str) -> tuple[nn.Module, int]:
        """Return (backbone, width): a module from normalised patches (N, 3, p, p) to (N, width), random weights.

        `architecture`: what follows the colon in `spec.net`, as in "timm:resnet18"; else "". The features of a patch
        must not depend on the other patches of the batch in eval mode. Raises ModelError for a spec that cannot be
        built.
        """
        ...


class FeatureNet(nn.Module):
    """The backbone that `spec.net` names, its features scaled to length 1.

    `width`: D, the length of the features; `encoded_width`: W, that of the backbone's output. With `spec.hidden` a
    trainable linear layer with ReLU, `projection`, stands between the backbone and the scaling. `mean`, `std`: how the
    patches are normalised; empty: as the view.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        network, architecture = find_feature_network(spec)
        self.backbone, self.encoded_width = network.build(spec, architecture)
        self.width = spec.hidden or self.encoded_width
        self.projection = nn.Linear(self.encoded_width, spec.hidden) if spec.hidden else None
        self.mean: tuple[float, ...] = spec.mean or getattr(self.backbone, "mean", ())
        self.std: tuple[float, ...] = spec.std or getattr(self.backbone, "std", ())

    def encode(self, patches: Tensor) -> Tensor:
        """Normalised patches (N, 3, p, p) -> the backbone's output (N, W), float32 whatever the backbone's dtype."""
        raw: Tensor = self.backbone(patches.to(next(self.backbone.parameters()).dtype))
        return raw.float()

    def project(self, encoded: Tensor) -> Tensor:
        """The backbone's output (N, W) -> features (N, D) of length 1."""
        if self.projection is not None:
            encoded = functional.relu(self.projection(encoded))
        return functional.normalize(encoded, dim=1)

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised patches (N, 3, p, p) -> features (N, D) of length 1, float32 whatever the backbone's dtype."""
        return self.project(self.encode(patches))


def find_feature_network(spec: FeatureSpec) -> tuple[FeatureNetwork, str]:
    """Return (member, architecture) of `spec.net`, "NAME" or "NAME:ARCHITECTURE". Raises ModelError if unknown."""
    name, _, architecture = spec.net.partition(":")
    try:
        return FEATURE_NETWORKS[name], architecture
    except AtsError as error:
        raise ModelError(f"features.net: {error}") from error
