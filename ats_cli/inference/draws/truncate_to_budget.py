"""Truncate a prediction to a smaller budget: the first n tiles of a race are a draw of n tiles. Nothing is read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from ats_cli.inference.estimate import attention_mass, estimate_from, with_answer
from ats_cli.prediction_parts import Cost, Provenance, Sampling
from ats_cli.records import MAX_UNREADABLE, Prediction, TilesRead
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import effective_tiles, mass_lost


def truncate_to_budget(prediction: Prediction, tiles: int, max_unreadable: float = MAX_UNREADABLE) -> Prediction:
    """Return the prediction that a budget of `tiles` would have given, from a race of a fixed budget with tile arrays.

    Logits, errors and shares of attention are those of `predict_slide` with that budget. Bytes and seconds are those of
    the view plus a proportional part of those of the tiles. A slide fails as there: if its first tiles are all
    unreadable, or if more than `max_unreadable` of the attention lies on what cannot be read.
    """
    arrays = prediction.tile_arrays
    if arrays is None or len(arrays.positions) <= tiles:
        return prediction
    whole = prediction.sampling
    assert whole.sampler is not None and whole.positions is not None
    first = _first(arrays, tiles)
    readable = first.readable
    name = PurePath(prediction.path).name
    if not readable.any():
        return _failed(prediction, f"{name}: none of its first {tiles} tiles can be read. Copy the file again.")
    drawn = SAMPLERS[whole.sampler].prefix(first.positions, first.attention, complete=tiles >= whole.positions)
    share = _mass_unreadable(whole, arrays, mass_lost(drawn.weights, readable))
    if share is not None and share > max_unreadable:
        return _failed(
            prediction,
            f"{name}: by its first {tiles} tiles, about {share:.1%} of the attention is on what cannot be read, more "
            f"than {max_unreadable:.1%}. Copy the file again, or accept it: --max-unreadable "
            f"{math.ceil(share * 100) / 100:g}.",
        )
    estimate = estimate_from(drawn, first, stopped=False, task=prediction.task)
    sampling = replace(
        whole,
        tiles=tiles,
        attention_mass=attention_mass(drawn, readable),
        effective_tiles=effective_tiles(estimate.weights),
        tiles_unreadable=int(np.count_nonzero(~readable)),
        mass_unreadable=share,
    )
    cost = _cost(prediction.cost, tiles / len(arrays.positions))
    truncated = replace(prediction, sampling=sampling, cost=cost, drawn=(), tile_arrays=None)
    return with_answer(truncated, estimate)


def _first(arrays: TilesRead, tiles: int) -> TilesRead:
    """Return the first `tiles` of all arrays with a row per tile."""
    of_tiles = ("positions", "attention", "weights", "draws", "boxes", "terms", "readable", "features", "gate")
    found = {name: getattr(arrays, name) for name in of_tiles}
    return replace(arrays, **{name: value[:tiles] for name, value in found.items() if value is not None})


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
        provenance=Provenance(fingerprint=p.provenance.fingerprint),
        model=p.model,
    )


def _mass_unreadable(whole: Sampling, arrays: TilesRead, in_tiles: float) -> float | None:
    """Return the estimated share of the attention on what cannot be read: in the view (as before) and in the tiles."""
    if whole.mass_unreadable is None:
        return None
    draw_of_all = SAMPLERS[str(whole.sampler)].prefix(
        arrays.positions, arrays.attention, complete=len(arrays.positions) == whole.positions
    )
    in_all_tiles = mass_lost(draw_of_all.weights, arrays.readable)
    in_view = (whole.mass_unreadable - in_all_tiles) / (1 - in_all_tiles)
    return max(0.0, in_view + (1 - in_view) * in_tiles)


def _cost(whole: Cost, share: float) -> Cost:
    """Return the cost of the view plus a `share` of that of the tiles.

    Bytes and seconds of the tiles are all but those of opening, view and attention.
    """
    bytes_read, seconds = None, None
    if whole.bytes_read is not None and whole.bytes_view is not None:
        bytes_read = whole.bytes_view + round((whole.bytes_read - whole.bytes_view) * share)
    if whole.seconds is not None:
        total = whole.seconds.get("total", 0.0)
        of_tiles = max(0.0, total - sum(whole.seconds.get(stage, 0.0) for stage in ("open", "view", "attention")))
        stages = {stage: round(whole.seconds.get(stage, 0.0) * share, 4) for stage in ("read", "features")}
        seconds = {**whole.seconds, **stages, "total": round(total - of_tiles * (1 - share), 4)}
    return replace(whole, bytes_read=bytes_read, seconds=seconds)
