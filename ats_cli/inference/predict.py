"""One slide -> one Prediction: look, draw, read the drawn tiles, estimate, say how sure that is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.drawing import Drawing, draw_on, every_position
from ats_cli.inference.extend import terms_so_far
from ats_cli.inference.features import tile_terms
from ats_cli.inference.look import softmax
from ats_cli.records import DrawnTile, Prediction, TilesRead
from ats_cli.sampling import Betting, Draw, lowest_margins, probability_gradient, standard_error
from ats_cli.slides import Slide
from ats_cli.zoo import LoadedModel

Floats = NDArray[np.float64]

# Tiles asked of the slide at once: enough to share native tiles, few enough for memory. With a test that may stop
# the reading, few more than it may need.
GROUP, ADAPTIVE_GROUP = 1024, 4


def predict_slide(
    slide: Slide,
    model: LoadedModel,
    *,
    tiles: int | None = None,
    sampler: str = "pivotal",
    seed: int = 0,
    confidence: float | None = None,
    exhaustive: bool = False,
    batch_size: int = 32,
    threads: int = 4,
    slide_id: str | None = None,
    before: TilesRead | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Classify a slide from `tiles` of its tiles (default: the model's budget).

    `confidence`: read in race order and stop once the class is settled at this confidence; `tiles` is then the most.
    `exhaustive`: read every position, the exact value that the draws estimate. `before`: a shorter race over this
    slide with the same seed; its tiles are not read again. `progress(done, all)` is called as tiles are read. The same
    slide, seed and model give the same draw, whatever else is predicted beside it.

    Raises SlideError when the slide cannot be read, has no tissue, lacks the microns per pixel that the model asks
    for, or is not the one that `before` was drawn on.
    """
    clock = time.perf_counter()
    budget = tiles or model.spec.tiles
    if exhaustive:
        sampler, drawing = "exhaustive", every_position(slide, model, threads)
    elif confidence is not None:
        sampler, drawing = "murthy", draw_on(slide, model, budget, "murthy", seed, threads)
    else:
        drawing = draw_on(slide, model, budget, sampler, seed, threads)

    seconds = {"read": 0.0, "features": 0.0}
    bias = model.nets.head.bias.cpu().double().numpy()
    test = None if confidence is None else _test(model, bias, confidence)
    known = terms_so_far(drawing, before, len(bias), slide.path.name)
    terms = _read(slide, model, drawing, known, test, batch_size, threads, seconds, progress)
    if drawing.race is not None and len(terms) < len(drawing.draw.positions):
        drawing = replace(drawing, draw=drawing.race.draw("murthy", len(terms)))
    estimate = _estimate(drawing.draw, terms, bias, stopped=confidence is not None)
    look = drawing.look
    seconds = {**look.seconds, **seconds, "total": time.perf_counter() - clock}
    return Prediction(
        slide_id=slide_id or slide.path.stem,
        path=str(slide.path),
        status="ok",
        predicted=model.spec.classes[int(np.argmax(estimate.logits))],
        classes=model.spec.classes,
        probabilities=tuple(estimate.probabilities.tolist()),
        se=None if estimate.se is None else tuple(estimate.se.tolist()),
        logits=tuple(estimate.logits.tolist()),
        logits_se=None if estimate.logits_se is None else tuple(estimate.logits_se.tolist()),
        se_kind=estimate.kind,
        tiles=len(terms),
        positions=look.positions,
        attention_mass=float(min(1.0, drawing.draw.attention.sum())),
        effective_positions=drawing.effective_positions,
        sampler=sampler,
        seed=seed,
        settled=None if test is None else test.settled is not None,
        bytes_read=slide.bytes_read,
        bytes_total=slide.bytes_total,
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        reader=slide.reader,
        precision="fp32",
        seconds={name: round(value, 4) for name, value in seconds.items()},
        model_name=model.name,
        model_hash=model.hash,
        drawn=() if exhaustive else _drawn_tiles(drawing, terms, bias),
        kept=_kept(drawing, terms, bias),
    )


@dataclass(frozen=True)
class _Estimate:
    logits: Floats
    probabilities: Floats
    logits_se: Floats | None
    se: Floats | None
    kind: Literal["unbiased", "approximate", "nominal"] | None


def _estimate(drawn: Draw, terms: Floats, bias: Floats, stopped: bool) -> _Estimate:
    """Logits and probabilities (C,), with their standard errors, from the tiles' terms (n, C).

    A probability's error is projected on its own gradient, not put together from the logits'. After a stop that the
    data chose, the errors are what a fixed number of tiles would have, and are called nominal.
    """
    logits = drawn.weights @ terms + bias
    probabilities = softmax(logits)
    of_logits = standard_error(drawn, terms)
    of_probabilities = standard_error(drawn, probability_gradient(terms, probabilities))
    kind = "nominal" if stopped and of_logits.kind and not drawn.exact else of_logits.kind
    return _Estimate(logits, probabilities, of_logits.se, of_probabilities.se, kind)


def _read(
    slide: Slide,
    model: LoadedModel,
    drawing: Drawing,
    known: Floats,
    test: Betting | None,
    batch_size: int,
    threads: int,
    seconds: dict[str, float],
    progress: Callable[[int, int], None] | None,
) -> Floats:
    """Terms (n, C) of the drawn tiles, in the order of the draw; with a test, only until it settles.

    Only the tiles that are NaN in `known`, (n, C), are read.
    """
    boxes, terms = drawing.boxes(), known.copy()
    read: NDArray[np.bool_] = np.asarray(np.isfinite(terms).all(axis=1))
    if progress:
        progress(int(read.sum()), len(boxes))
    group, batch = (GROUP, batch_size) if test is None else (ADAPTIVE_GROUP, ADAPTIVE_GROUP)
    for start in range(0, len(boxes), group):
        stop = min(start + group, len(boxes))
        missing = start + np.flatnonzero(~read[start:stop])
        for some in tile_terms(slide, model, boxes[missing], batch, threads, seconds) if len(missing) else ():
            now, missing = missing[: len(some)], missing[len(some) :]
            terms[now], read[now] = some, True
            if progress:
                progress(int(read.sum()), len(boxes))
        if test is not None:
            for one, attention in zip(terms[start:stop], drawing.draw.attention[start:stop], strict=True):
                test.update(one, float(attention))
            if test.settled is not None:
                return terms[:stop]
    return terms


def _test(model: LoadedModel, bias: Floats, confidence: float) -> Betting:
    weights = model.spec.head_scale * model.nets.head.weight.cpu().double().numpy()
    return Betting(lowest_margins(weights), bias, 1 - confidence)


def _drawn_tiles(drawing: Drawing, terms: Floats, bias: Floats) -> tuple[DrawnTile, ...]:
    drawn = drawing.draw
    rows = zip(
        drawing.boxes().tolist(),
        drawn.attention.tolist(),
        drawn.weights.tolist(),
        drawn.draws.tolist(),
        softmax(terms + bias).tolist(),
        (drawn.weights[:, None] * terms).tolist(),
        strict=True,
    )
    return tuple(
        DrawnTile(x, y, width, height, attention, weight, draws, tuple(own), tuple(share))
        for (x, y, width, height), attention, weight, draws, own, share in rows
    )


def _kept(drawing: Drawing, terms: Floats, bias: Floats) -> TilesRead:
    drawn, look = drawing.draw, drawing.look
    log_z = None if drawing.race is None else drawing.race.log_z
    return TilesRead(
        drawn.positions,
        drawn.attention,
        drawn.weights,
        drawn.draws,
        drawing.boxes(),
        terms,
        bias,
        (look.rows, look.cols),
        log_z,
    )
