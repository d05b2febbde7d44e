"""The evidence of tiles: their exact shares of a logit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Prediction, TilesRead

Floats = NDArray[np.float64]

MAX_SHOWN = 1000  # tiles of a slide that are shown as pictures


def evidence(tiles: TilesRead) -> Floats:
    """Return (n, C), each tile's exact share of each logit; they sum over the tiles to logit minus bias."""
    return tiles.weights[:, None] * tiles.terms


def answered_class(prediction: Prediction) -> int:
    """Return the index of the class that the evidence of a prediction is shown for: the one of the largest logit."""
    return int(np.argmax(prediction.logits or (0.0,)))


def by_evidence(prediction: Prediction) -> tuple[NDArray[np.intp], Floats]:
    """Return the readable tiles from the most evidence for the answered class to the most against it, and all evidence.

    (m,) indices into the arrays of the tiles; (n,) evidence for that class.
    """
    tiles = prediction.tile_arrays
    assert tiles is not None
    values = evidence(tiles)[:, answered_class(prediction)]
    order = np.argsort(-values, kind="stable")
    return order[tiles.readable[order]], values


def tiles_to_show(prediction: Prediction) -> NDArray[np.intp]:
    """Return the tiles that are shown as pictures, in the order of `by_evidence`.

    They are all readable ones, or if these are more than MAX_SHOWN, half of it with the most evidence for the answered
    class and half with the most against it.
    """
    order, _ = by_evidence(prediction)
    if len(order) <= MAX_SHOWN:
        return order
    return np.concatenate([order[: MAX_SHOWN // 2], order[-(MAX_SHOWN // 2) :]])
