"""The model: attention network, feature network, a gate where it has one, a linear head on the expected features."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.nets.attention import TrunkAttention, build_attention
from ats_cli.nets.features import FeatureNet
from ats_cli.nets.gate import Gate
from ats_cli.records import ModelSpec

SUMMARY = 32  # length of the summary of a tile's features, by which slides are compared


class Model(nn.Module):
    """Joins the networks that a ModelSpec names, with random weights. Raises ModelError for an unknown network.

    `gate`: None for a model without one. `term_range` (2, C): the least and the largest `tile_terms` of the tiles that
    training drew, NaN while unknown; `bound_terms` sets those that any tile may have.
    """

    view_mean: Tensor
    view_std: Tensor
    patch_mean: Tensor
    patch_std: Tensor
    term_range: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.attention = build_attention(spec.attention)
        self.features = FeatureNet(spec.features)
        self.gate = Gate(self.features.encoded_width, spec.head.gate) if spec.head.gate else None
        self.head = nn.Linear(self.features.width, len(spec.classes))
        self.register_buffer("term_range", torch.full((2, len(spec.classes)), torch.nan), persistent=False)
        colours = {
            "view_mean": spec.attention.mean or self.attention.mean or spec.mean,
            "view_std": spec.attention.std or self.attention.std or spec.std,
            "patch_mean": self.features.mean or spec.mean,
            "patch_std": self.features.std or spec.std,
        }
        for name, values in colours.items():
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def attend(self, views: Tensor) -> Tensor:
        """Views (N, 3, H, W) in 0..1 -> attention logits (N, rows, cols)."""
        return self.attention.pool(self.attend_pixels(views))

    def attend_pixels(self, views: Tensor) -> Tensor:
        """Views (N, 3, H, W) in 0..1 -> attention logits of cells, before they are pooled into positions.

        A cell has `attention.resolution` pixels a side: one, unless the network is coarser.
        """
        logits: Tensor = self.attention(views, self._normalised(views))[0]
        return logits

    def attend_with_channels(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Views (N, 3, H, W) in 0..1 -> (attention logits (N, rows, cols), channels (N, 3 + T, rows, cols)).

        The channels are the colour in 0..1 and the attention network's T hidden channels, at the first pixel or cell of
        each position.
        """
        logits, hidden = self.attention(views, self._normalised(views))
        step, cells = self.attention.stride, self.attention.cells
        channels = torch.cat([views[..., ::step, ::step], hidden[..., ::cells, ::cells].to(views.dtype)], 1)
        return self.attention.pool(logits), channels

    def encode_views(self, views: Tensor) -> Tensor:
        """Views (N, 3, H, W) in 0..1 -> what the frozen trunk of a TrunkAttention gives, (N, E, rows, cols) of cells.

        Raises TypeError for another attention network.
        """
        return self._trunk_attention.encode(views, self._normalised(views))

    def attend_encoded(self, encoded: Tensor) -> Tensor:
        """Encoded views (N, E, rows, cols) of cells -> attention logits of positions (N, rows, cols)."""
        return self.attention.pool(self._trunk_attention.score(encoded)[0])

    @property
    def _trunk_attention(self) -> TrunkAttention:
        if not isinstance(self.attention, TrunkAttention):
            raise TypeError(f"the attention network {self.spec.attention.net} has no frozen trunk")
        return self.attention

    def _normalised(self, views: Tensor) -> Tensor:
        return (views - self.view_mean) / self.view_std

    def encode_patches(self, patches: Tensor) -> Tensor:
        """Patches (N, 3, p, p) in 0..1 -> the output of the feature network's backbone, (N, W)."""
        return self.features.encode((patches - self.patch_mean) / self.patch_std)

    def gates(self, encoded: Tensor) -> Tensor:
        """Encoded patches (N, W) -> how much each counts, (N,) in 0..1: 1 for a model without a gate."""
        if self.gate is None:
            return torch.ones(len(encoded), device=encoded.device)
        gates: Tensor = self.gate(encoded)
        return gates

    def embed(self, patches: Tensor) -> Tensor:
        """Patches (N, 3, p, p) in 0..1 -> features (N, D) of length 1."""
        out: Tensor = self.features((patches - self.patch_mean) / self.patch_std)
        return out

    def logits(self, expected: Tensor) -> Tensor:
        """Expected features (..., D) -> class logits (..., C).

        Linear, so that each tile's share of a logit is exact. The fixed scale compensates for the short averages of
        unit vectors: without it, the loss cannot fall far.
        """
        out: Tensor = self.head(self.spec.head_scale * expected)
        return out

    def tile_terms(self, features: Tensor) -> Tensor:
        """Features (n, D) -> (n, C): the contribution of each tile to the logits at weight 1, without the bias."""
        return self.spec.head_scale * features @ self.head.weight.T

    def bound_terms(self) -> None:
        """Set `term_range` to what `tile_terms` can be of features of length 1."""
        bound = self.spec.head_scale * self.head.weight.detach().norm(dim=1)
        self.term_range = torch.stack([-bound, bound])

    @property
    def summary_width(self) -> int:
        return min(self.features.width, SUMMARY)

    def summary(self, features: Tensor) -> Tensor:
        """Features (n, D) -> (n, min(D, SUMMARY)): their first coefficients of the discrete cosine transform (DCT-II).

        That is a projection on fixed orthonormal directions. Features of length SUMMARY or less are returned unchanged.
        """
        width = features.shape[-1]
        if width <= SUMMARY:
            return features
        places = torch.arange(width, device=features.device) + 0.5
        cosines = torch.cos(torch.pi / width * places[:, None] * torch.arange(SUMMARY, device=features.device))
        return features.float() @ functional.normalize(cosines, dim=0)


def to_unit(images: Tensor) -> Tensor:
    """uint8 images (N, H, W, 3) -> float (N, 3, H, W) in 0..1, channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255
