"""The model: an attention net, a feature net, and a linear head on the expected features."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ats_cli.nets.attention import AttentionNet
from ats_cli.nets.features import FeatureNet
from ats_cli.records import ModelSpec

# Numbers that a tile's features are summed up in, to compare slides by.
SUMMARY = 32


class Model(nn.Module):
    """Joins the nets that a ModelSpec names. Weights are random until loaded."""

    mean: Tensor
    std: Tensor
    patch_mean: Tensor
    patch_std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.attention = AttentionNet(spec.attention)
        self.features = FeatureNet(spec.features)
        self.head = nn.Linear(self.features.width, len(spec.classes))
        colours = {
            "mean": spec.mean,
            "std": spec.std,
            "patch_mean": spec.features.mean or spec.mean,
            "patch_std": spec.features.std or spec.std,
        }
        for name, values in colours.items():
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def attend(self, views: Tensor) -> Tensor:
        """Views (N, 3, H, W) in 0..1 -> attention logits (N, rows, cols)."""
        return self.attention.pool(self.attend_pixels(views))

    def attend_pixels(self, views: Tensor) -> Tensor:
        """The same, before pixels are pooled into positions: (N, H, W)."""
        return self.attention.at_pixels(views, (views - self.mean) / self.std)

    def attend_with_channels(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return attention logits (N, rows, cols), and channels of each position's first pixel (N, T, rows, cols).

        Channels are the colour in 0..1 and the attention network's hidden channels.
        """
        hidden, step = self.attention.hidden_of((views - self.mean) / self.std), self.spec.attention.stride
        channels = torch.cat([views[..., ::step, ::step], hidden[..., ::step, ::step]], 1)
        return self.attention.pool(self.attention.from_hidden(views, hidden)), channels

    def embed(self, patches: Tensor) -> Tensor:
        """Patches (N, 3, p, p) in 0..1 -> features (N, D), of length 1."""
        out: Tensor = self.features((patches - self.patch_mean) / self.patch_std)
        return out

    def logits(self, expected: Tensor) -> Tensor:
        """Expected features (..., D) -> class logits (..., C).

        Linear, so that each tile's share of a logit is exact. The fixed scale is there because averages of unit
        vectors are short: without it, the loss cannot fall far.
        """
        out: Tensor = self.head(self.spec.head_scale * expected)
        return out

    def tile_terms(self, features: Tensor) -> Tensor:
        """Features (n, D) -> (n, C): what each tile would add to the logits at weight 1, bias apart."""
        return self.spec.head_scale * features @ self.head.weight.T

    @property
    def summary_width(self) -> int:
        return min(self.features.width, SUMMARY)

    def summary(self, features: Tensor) -> Tensor:
        """Features (n, D) -> (n, min(D, SUMMARY)): as they are or, if there are many, on the first cosines (DCT-II)
        over their numbers, which is to say on some fixed directions at right angles."""
        many = features.shape[-1]
        if many <= SUMMARY:
            return features
        places = torch.arange(many, device=features.device) + 0.5
        cosines = torch.cos(torch.pi / many * places[:, None] * torch.arange(SUMMARY, device=features.device))
        return features.float() @ functional.normalize(cosines, dim=0)


def to_unit(images: Tensor) -> Tensor:
    """uint8 images (N, H, W, 3) -> float (N, 3, H, W) in 0..1, channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255
