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
    """The backbone that `spec.net` names, its features scaled to length 1. `width`: D, the length of the features."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        network, architecture = find_feature_network(spec)
        self.backbone, self.width = network.build(spec, architecture)

    def forward(self, patches: Tensor) -> Tensor:
        """Normalised patches (N, 3, p, p) -> features (N, D) of length 1, float32 whatever the backbone's dtype."""
        raw: Tensor = self.backbone(patches.to(next(self.backbone.parameters()).dtype))
        return functional.normalize(raw.float(), dim=1)


def find_feature_network(spec: FeatureSpec) -> tuple[FeatureNetwork, str]:
    """Return (member, architecture) of `spec.net`, "NAME" or "NAME:ARCHITECTURE". Raises ModelError if unknown."""
    name, _, architecture = spec.net.partition(":")
    try:
        return FEATURE_NETWORKS[name], architecture
    except AtsError as error:
        raise ModelError(f"features.net: {error}") from error
