"""Attention sampling of views of any size: the attention in strips without a gradient, its gradient from crops."""

from ats_cli.nets.view_sampling.module import AttentionSamplingFromView, ViewOptions, attention_sampling_from_view
from ats_cli.nets.view_sampling.strips import in_strips

__all__ = ["AttentionSamplingFromView", "ViewOptions", "attention_sampling_from_view", "in_strips"]
