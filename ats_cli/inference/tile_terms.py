"""The terms of a plan's tiles: what each adds to the class logits. Tiles are read until a stopping rule says enough."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.context import PredictionContext
from ats_cli.inference.draws.plan import DrawPlan
from ats_cli.inference.draws.stopping_rule import StoppingRule
from ats_cli.inference.features import tile_batches

Floats = NDArray[np.float64]

# Tiles requested from the slide at once: enough to share native tiles, few enough for memory. With a stopping rule,
# few more than it needs.
GROUP, ADAPTIVE_GROUP = 1024, 4


@dataclass(frozen=True)
class TileTerms:
    """Results of the tiles that were read, in the order of the draw.

    terms: (n, C), 0 for tiles that could not be read.
    gate: (n,), how much each counts, 1 for a model without a gate; 0 for tiles that could not be read.
    features: (n, d) summaries of the tiles' features; d = 0 for a model that computes no embedding.
    readable: (n,) bool.
    problem: why the first unreadable tile could not be read, or None.
    """

    terms: Floats
    gate: Floats
    features: Floats
    readable: NDArray[np.bool_]
    problem: str | None


def read_tile_terms(
    context: PredictionContext,
    plan: DrawPlan,
    known: Floats,
    *,
    batch_size: int | None = None,
    stopping_rule: StoppingRule | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TileTerms:
    """Read the tiles whose row of `known` (n, C + 1 + d) is NaN; with a stopping rule, only until it settles."""
    classes = len(context.model.spec.classes)
    boxes, terms = plan.boxes(), known.copy()
    readable: NDArray[np.bool_] = np.asarray(np.isfinite(terms).all(axis=1))
    done, problem = int(readable.sum()), None
    if on_progress:
        on_progress(done, len(boxes))
    group, batch_size = (GROUP, batch_size) if stopping_rule is None else (ADAPTIVE_GROUP, ADAPTIVE_GROUP)
    stop = 0
    for start in range(0, len(boxes), group):
        stop = min(start + group, len(boxes))
        unread = start + np.flatnonzero(~readable[start:stop])
        summaries = terms.shape[1] > classes + 1
        for batch in tile_batches(context, boxes[unread], batch_size, summaries) if len(unread) else ():
            rows, unread = unread[: len(batch.terms)], unread[len(batch.terms) :]
            terms[rows], readable[rows] = batch.terms, batch.readable
            problem = problem or batch.problem
            done += len(rows)
            if on_progress:
                on_progress(done, len(boxes))
        if stopping_rule is not None:
            for i in range(start, stop):
                gate = float(terms[i, classes]) if readable[i] else 0.0
                stopping_rule.update(terms[i, :classes], gate, float(plan.draw.attention[i]))
            if stopping_rule.settled is not None:
                break
    read = terms[:stop]
    return TileTerms(read[:, :classes], read[:, classes], read[:, classes + 1 :], readable[:stop], problem)
