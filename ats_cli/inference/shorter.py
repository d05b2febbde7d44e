"""What fewer tiles of the same race would have said: its first n tiles are a draw of n tiles. Nothing is read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from ats_cli.inference.estimate import estimate_from
from ats_cli.records import MAX_UNREADABLE, Prediction
from ats_cli.registry import SAMPLERS
from ats_cli.sampling import mass_lost


def shorter(prediction: Prediction, tiles: int, max_unreadable: float = MAX_UNREADABLE) -> Prediction:
    """The prediction that a budget of `tiles` would have given, from a race of a fixed budget with its tiles kept.

    Same logits, errors and shares of attention as `predict_slide` gives for that budget. Bytes and seconds are the
    look's, and of the reading the share of the tiles. A slide fails as there: where the first tiles are all
    unreadable, or more than `max_unreadable` of the attention lies on what cannot be read.
    """
    kept = prediction.kept
    if kept is None or len(kept.positions) <= tiles:
        return prediction
    assert prediction.sampler is not None and prediction.positions is not None
    terms, readable = kept.terms[:tiles], kept.readable[:tiles]
    name = PurePath(prediction.path).name
    if not readable.any():
        return _failed(prediction, f"{name}: none of its first {tiles} tiles can be read. Copy the file again.")
    drawn = SAMPLERS[prediction.sampler].prefix(
        kept.positions[:tiles], kept.attention[:tiles], complete=tiles >= prediction.positions
    )
    lost = _lost(prediction, mass_lost(drawn.weights, readable))
    if lost is not None and lost > max_unreadable:
        return _failed(
            prediction,
            f"{name}: by its first {tiles} tiles, about {lost:.1%} of the attention is on what cannot be read, more "
            f"than {max_unreadable:.1%}. Copy the file again, or go on without it: --max-unreadable "
            f"{math.ceil(lost * 100) / 100:g}.",
        )
    estimate = estimate_from(drawn, terms, readable, kept.bias, stopped=False)
    return replace(
        prediction,
        predicted=prediction.classes[int(np.argmax(estimate.logits))],
        probabilities=tuple(estimate.probabilities.tolist()),
        se=None if estimate.se is None else tuple(estimate.se.tolist()),
        logits=tuple(estimate.logits.tolist()),
        logits_se=None if estimate.logits_se is None else tuple(estimate.logits_se.tolist()),
        se_kind=estimate.kind,
        tiles=tiles,
        attention_mass=float(min(1.0, drawn.attention[readable].sum())),
        tiles_unreadable=int(np.count_nonzero(~readable)),
        mass_unreadable=lost,
        bytes_read=_bytes(prediction, tiles),
        seconds=_seconds(prediction, tiles),
        drawn=(),
        kept=None,
    )


def _failed(prediction: Prediction, sentence: str) -> Prediction:
    """The record of the slide at a budget at which it has no answer."""
    p = prediction
    return Prediction(
        slide_id=p.slide_id,
        path=p.path,
        status="failed",
        error=sentence,
        failure="unreadable",
        classes=p.classes,
        model_name=p.model_name,
        model_hash=p.model_hash,
        fingerprint=p.fingerprint,
    )


def _lost(prediction: Prediction, of_tiles: float) -> float | None:
    """The estimate of what is lost, in the view (the same) and of the tiles."""
    if prediction.mass_unreadable is None or prediction.kept is None:
        return None
    draw_of_all = SAMPLERS[str(prediction.sampler)].prefix(
        prediction.kept.positions,
        prediction.kept.attention,
        complete=len(prediction.kept.positions) == prediction.positions,
    )
    before = mass_lost(draw_of_all.weights, prediction.kept.readable)
    of_view = (prediction.mass_unreadable - before) / (1 - before)
    return max(0.0, of_view + (1 - of_view) * of_tiles)


def _bytes(prediction: Prediction, tiles: int) -> int | None:
    if prediction.bytes_read is None or prediction.bytes_view is None or not prediction.tiles:
        return None
    of_tiles = prediction.bytes_read - prediction.bytes_view
    return prediction.bytes_view + round(of_tiles * tiles / prediction.tiles)


def _seconds(prediction: Prediction, tiles: int) -> dict[str, float] | None:
    """Of the reading, the share of the tiles; it is what is left of the total beside opening and the look."""
    if prediction.seconds is None or not prediction.tiles:
        return None
    share, seconds = tiles / prediction.tiles, prediction.seconds
    total = seconds.get("total", 0.0)
    reading = max(0.0, total - sum(seconds.get(name, 0.0) for name in ("open", "view", "attention")))
    of_tiles = {name: round(seconds.get(name, 0.0) * share, 4) for name in ("read", "features")}
    return {**seconds, **of_tiles, "total": round(total - reading * (1 - share), 4)}
