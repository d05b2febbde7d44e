"""Truncate a prediction to a smaller budget: the first n tiles of a race are a draw of n tiles. Nothing is read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from ats_cli.inference.estimate import estimate_from
from ats_cli.records import MAX_UNREADABLE, Prediction, TilesRead
from ats_cli.registry import SAMPLERS, TASKS
from ats_cli.sampling import mass_lost


def truncate_to_budget(prediction: Prediction, tiles: int, max_unreadable: float = MAX_UNREADABLE) -> Prediction:
    """Return the prediction that a budget of `tiles` would have given, from a race of a fixed budget with tile arrays.

    Logits, errors and shares of attention are those of `predict_slide` with that budget. Bytes and seconds are those of
    the view plus a proportional part of those of the tiles. A slide fails as there: if its first tiles are all
    unreadable, or if more than `max_unreadable` of the attention lies on what cannot be read.
    """
    arrays = prediction.tile_arrays
    if arrays is None or len(arrays.positions) <= tiles:
        return prediction
    assert prediction.sampler is not None and prediction.positions is not None
    terms, readable = arrays.terms[:tiles], arrays.readable[:tiles]
    name = PurePath(prediction.path).name
    if not readable.any():
        return _failed(prediction, f"{name}: none of its first {tiles} tiles can be read. Copy the file again.")
    drawn = SAMPLERS[prediction.sampler].prefix(
        arrays.positions[:tiles], arrays.attention[:tiles], complete=tiles >= prediction.positions
    )
    share = _mass_unreadable(prediction, arrays, mass_lost(drawn.weights, readable))
    if share is not None and share > max_unreadable:
        return _failed(
            prediction,
            f"{name}: by its first {tiles} tiles, about {share:.1%} of the attention is on what cannot be read, more "
            f"than {max_unreadable:.1%}. Copy the file again, or go on without it: --max-unreadable "
            f"{math.ceil(share * 100) / 100:g}.",
        )
    estimate = estimate_from(drawn, terms, readable, arrays.bias, stopped=False, task=prediction.task)
    return replace(
        prediction,
        predicted=TASKS[prediction.task].predicted(estimate.logits, prediction.classes),
        probabilities=None if estimate.probabilities is None else tuple(estimate.probabilities.tolist()),
        se=None if estimate.se is None else tuple(estimate.se.tolist()),
        logits=tuple(estimate.logits.tolist()),
        logits_se=None if estimate.logits_se is None else tuple(estimate.logits_se.tolist()),
        se_kind=estimate.kind,
        tiles=tiles,
        attention_mass=float(min(1.0, drawn.attention[readable].sum())),
        tiles_unreadable=int(np.count_nonzero(~readable)),
        mass_unreadable=share,
        bytes_read=_bytes_read(prediction, tiles),
        seconds=_seconds(prediction, tiles),
        drawn=(),
        tile_arrays=None,
    )


def _failed(prediction: Prediction, error: str) -> Prediction:
    """Return the record of a slide that has no answer at this budget."""
    p = prediction
    return Prediction(
        slide_id=p.slide_id,
        path=p.path,
        status="failed",
        error=error,
        failure="unreadable",
        classes=p.classes,
        model_name=p.model_name,
        model_hash=p.model_hash,
        fingerprint=p.fingerprint,
    )


def _mass_unreadable(prediction: Prediction, arrays: TilesRead, in_tiles: float) -> float | None:
    """Return the estimated share of the attention on what cannot be read: in the view (as before) and in the tiles."""
    if prediction.mass_unreadable is None:
        return None
    draw_of_all = SAMPLERS[str(prediction.sampler)].prefix(
        arrays.positions, arrays.attention, complete=len(arrays.positions) == prediction.positions
    )
    in_all_tiles = mass_lost(draw_of_all.weights, arrays.readable)
    in_view = (prediction.mass_unreadable - in_all_tiles) / (1 - in_all_tiles)
    return max(0.0, in_view + (1 - in_view) * in_tiles)


def _bytes_read(prediction: Prediction, tiles: int) -> int | None:
    """Return the bytes of the view plus those of the tiles in proportion to their number."""
    if prediction.bytes_read is None or prediction.bytes_view is None or not prediction.tiles:
        return None
    of_tiles = prediction.bytes_read - prediction.bytes_view
    return prediction.bytes_view + round(of_tiles * tiles / prediction.tiles)


def _seconds(prediction: Prediction, tiles: int) -> dict[str, float] | None:
    """Return the seconds with those of the tiles reduced in proportion: all that is not opening, view or attention."""
    if prediction.seconds is None or not prediction.tiles:
        return None
    share, seconds = tiles / prediction.tiles, prediction.seconds
    total = seconds.get("total", 0.0)
    of_tiles = max(0.0, total - sum(seconds.get(stage, 0.0) for stage in ("open", "view", "attention")))
    stages = {stage: round(seconds.get(stage, 0.0) * share, 4) for stage in ("read", "features")}
    return {**seconds, **stages, "total": round(total - of_tiles * (1 - share), 4)}
