"""Pictures of a slide for the writers that need them: attention map, view, patches of the tiles that were read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.attention_pass import AttentionPass
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.features import tile_features
from ats_cli.records import AttentionMap, PixelRequest, Prediction, SlidePixels, TilesRead
from ats_cli.slides import Unreadable

MAX_PATCHES = 1000  # of a slide of which more tiles were read, those with the most attention


def with_pixels(
    prediction: Prediction, context: PredictionContext, request: PixelRequest, attention: AttentionMap | None = None
) -> Prediction:
    """Return a prediction with the pictures that are requested.

    `attention`: the slide's map if it is known, else the attention network runs over the view again. Raises SlideError.
    """
    slide, tiles, view, patches, features = context.slide, prediction.tile_arrays, None, None, None
    side = context.model.spec.features.patch_size
    needs, view_problem = request.needs, None
    downsample = max(1.0, max(slide.width, slide.height) / request.view_size)
    if "view" in needs:
        view, _, view_problem = slide.scan_view(downsample, threads=context.threads)
    if "patches" in needs and tiles is not None:
        patches = _patches(context, tiles)
    if "features" in needs and tiles is not None:
        features = tile_features(context, tiles.boxes)
    if "attention" not in needs:
        attention = None
    elif attention is None:
        attention = AttentionPass(context).attention()[0]
    return replace(prediction, pixels=SlidePixels(attention, view, downsample, view_problem, patches, features, side))


def _patches(context: PredictionContext, tiles: TilesRead) -> NDArray[np.uint8]:
    """Return the tiles (n, p, p, 3); those beyond MAX_PATCHES, and unreadable ones, in the background's grey."""
    spec = context.model.spec
    side = spec.features.patch_size
    patches = np.full((len(tiles.boxes), side, side, 3), spec.background, np.uint8)
    chosen = np.sort(np.argsort(-tiles.attention, kind="stable")[:MAX_PATCHES])
    read = context.slide.scan_tiles(tiles.boxes[chosen], side, spec.background, context.threads)
    for index, patch in zip(chosen, read, strict=True):
        if not isinstance(patch, Unreadable):
            patches[index] = patch
    return patches
