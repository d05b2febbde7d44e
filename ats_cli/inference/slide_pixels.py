"""Pictures of a slide for the writers that need them: attention map, view, patches of the tiles that were read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.attention_pass import AttentionPass
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.features import tile_features
from ats_cli.nets.geometry import geometry_on
from ats_cli.records import AttentionMap, PixelRequest, Prediction, SlidePixels
from ats_cli.results.evidence import tiles_to_show
from ats_cli.slides import Unreadable


def with_pixels(
    prediction: Prediction, context: PredictionContext, request: PixelRequest, attention: AttentionMap | None = None
) -> Prediction:
    """Return a prediction with the pictures that are requested.

    `attention`: the slide's map if it is known, else the attention network runs over the view again. Raises SlideError.
    """
    prediction = _with_frame(prediction, context)
    slide, tiles, view, patches, features = context.slide, prediction.tile_arrays, None, None, None
    side = context.model.spec.features.patch_size
    needs, view_problem = request.needs, None
    downsample = max(1.0, max(slide.width, slide.height) / request.view_size)
    if "view" in needs:
        view, _, view_problem = slide.scan_view(downsample, threads=context.threads)
    if "patches" in needs and tiles is not None:
        patches = _patches(context, prediction)
    if "features" in needs and tiles is not None:
        features = tile_features(context, tiles.boxes)
    if "attention" not in needs:
        attention = None
    elif attention is None:
        attention = AttentionPass(context).attention()[0]
    return replace(prediction, pixels=SlidePixels(attention, view, downsample, view_problem, patches, features, side))


def _with_frame(prediction: Prediction, context: PredictionContext) -> Prediction:
    """Return a prediction with the slide's size, bounds and pitch, which the records of older runs lack."""
    slide, spec, provenance = context.slide, context.model.spec, prediction.provenance
    if provenance.size is not None and provenance.pitch is not None:
        return prediction
    geometry = geometry_on(spec, slide.require_mpp() if spec.unit == "um" else None)
    bounds = None if slide.bounds is None else tuple(slide.bounds)
    frame = replace(provenance, size=(slide.width, slide.height), bounds=bounds, pitch=geometry.pitch)
    return replace(prediction, provenance=frame)


def _patches(context: PredictionContext, prediction: Prediction) -> dict[int, NDArray[np.uint8]]:
    """Return the tiles to show, in the background's grey if they cannot be read any more."""
    tiles, spec = prediction.tile_arrays, context.model.spec
    assert tiles is not None
    side, shown = spec.features.patch_size, np.sort(tiles_to_show(prediction))
    missing = np.full((side, side, 3), spec.background, np.uint8)
    read = context.slide.scan_tiles(tiles.boxes[shown], side, spec.background, context.threads)
    return {
        index: missing if isinstance(patch, Unreadable) else patch.copy()
        for index, patch in zip(shown.tolist(), read, strict=True)
    }
