"""One slide -> one Prediction: look, draw, read the drawn tiles, estimate, say how sure that is."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ats_cli.inference.draw_options import DrawOptions
from ats_cli.inference.drawing import Drawing, draw_on, every_position
from ats_cli.inference.estimate import estimate_from, probabilities_of
from ats_cli.inference.extend import terms_so_far
from ats_cli.inference.features import tile_terms
from ats_cli.inference.passes import Spent
from ats_cli.records import DrawnTile, ModelSpec, Prediction, SlideError, TilesRead
from ats_cli.sampling import (
    Betting,
    lowest_margins,
    mass_lost,
)
from ats_cli.slides import Slide
from ats_cli.zoo import LoadedModel

Floats = NDArray[np.float64]

# Tiles asked of the slide at once: enough to share native tiles, few enough for memory. With a test that may stop
# the reading, few more than it may need.
GROUP, ADAPTIVE_GROUP = 1024, 4


def predict_slide(
    slide: Slide,
    model: LoadedModel,
    options: DrawOptions | None = None,
    *,
    slide_id: str | None = None,
    before: TilesRead | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Prediction:
    """Classify a slide from some of its tiles.

    `before`: a shorter race over this slide with the same seed; its tiles are not read again, but those that could not
    be read are tried again. `on_progress(done, all)` is called as tiles are read. The same slide, seed and model give
    the same draw, whatever else is predicted beside it.

    Where drawn tiles cannot be read, the estimate is the ratio over the others. Raises SlideError when more than
    `options.max_unreadable` of the attention, as estimated, lies on what cannot be read; when nothing can, or the slide
    has no tissue; when it lacks the microns per pixel that the model asks for, or is not the one `before` was drawn on.
    """
    options = options or DrawOptions()
    confidence, threads = options.confidence, options.threads
    if confidence is not None and model.spec.task != "multi-class":
        what = f"{slide.path.name}: a {model.spec.task} model has no class to settle."
        raise SlideError(f"{what} Leave out --adaptive and --confidence.")
    clock = time.perf_counter()
    if options.exhaustive:
        drawing = every_position(slide, model, threads)
    else:
        budget = options.tiles or model.spec.tiles
        drawing = draw_on(slide, model, budget, options.sampler_name, options.seed, threads)

    spent = Spent("read", "features")
    bytes_view = slide.bytes_read
    bias = model.nets.head.bias.cpu().double().numpy()
    test = None if confidence is None else _test(model, bias, confidence)
    describes = model.describes and (before is None or before.features is not None)
    width = len(bias) + (model.nets.summary_width if describes else 0)
    known = terms_so_far(drawing, before, width, slide.path.name)
    tiles_read = _read(slide, model, drawing, known, test, options.batch_size, threads, spent, on_progress)
    terms, features, readable = tiles_read.terms, tiles_read.features, tiles_read.readable
    if drawing.race is not None and len(terms) < len(drawing.draw.positions):
        drawing = replace(drawing, draw=drawing.race.draw(len(terms)))
    lost = _mass_lost(drawing, tiles_read, options.max_unreadable, slide.path.name)
    task = model.spec.task
    estimate = estimate_from(drawing.draw, terms, readable, bias, stopped=confidence is not None, task=task)
    look = drawing.look
    traits = None
    if describes and look.described is not None:
        traits = np.concatenate([look.described.traits(), estimate.weights @ features])
    unfamiliar = None if traits is None or model.familiarity is None else model.familiarity.score(traits)
    seconds = {**look.spent.seconds, **spent.seconds, "total": time.perf_counter() - clock}
    return Prediction(
        slide_id=slide_id or slide.path.stem,
        path=str(slide.path),
        status="ok",
        predicted=_predicted(estimate.logits, model.spec),
        classes=model.spec.classes,
        probabilities=None if task == "regression" else tuple(estimate.probabilities.tolist()),
        se=None if estimate.se is None or task == "regression" else tuple(estimate.se.tolist()),
        logits=tuple(estimate.logits.tolist()),
        logits_se=None if estimate.logits_se is None else tuple(estimate.logits_se.tolist()),
        se_kind=estimate.kind,
        tiles=len(terms),
        positions=look.positions,
        attention_mass=float(min(1.0, drawing.draw.attention[readable].sum())),
        effective_positions=drawing.effective_positions,
        tiles_unreadable=int(np.count_nonzero(~readable)),
        mass_unreadable=lost,
        sampler=options.sampler_name,
        seed=options.seed,
        settled=None if test is None else test.settled is not None,
        bytes_read=slide.bytes_read,
        bytes_view=bytes_view,
        bytes_total=slide.bytes_total,
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        reader=slide.reader,
        precision=model.precision,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        model_name=model.name,
        model_hash=model.hash,
        unfamiliar=None if unfamiliar is None else unfamiliar > 1,
        unfamiliar_score=unfamiliar,
        unfamiliar_to=None if unfamiliar is None or model.familiarity is None else model.familiarity.described,
        traits=traits,
        task=task,
        value=float(estimate.logits[0]) if task == "regression" else None,
        se_value=float(estimate.logits_se[0]) if task == "regression" and estimate.logits_se is not None else None,
        drawn=() if options.exhaustive else _drawn_tiles(drawing, estimate.weights, terms, readable, bias, task),
        kept=_kept(drawing, estimate.weights, terms, readable, bias, features if describes else None),
    )


def _predicted(logits: Floats, spec: ModelSpec) -> str | None:
    """The class; of several labels those that are more likely than not, "a;b"; of a number nothing."""
    if spec.task == "regression":
        return None
    if spec.task == "multi-label":
        return ";".join(name for name, logit in zip(spec.classes, logits, strict=True) if logit > 0)
    return spec.classes[int(np.argmax(logits))]


class _Tiles(NamedTuple):
    """Terms (n, C) of the drawn tiles in the order of the draw, 0 where `readable` (n,) says that there are none;
    `problem` is the first sentence why. `features`: their summaries (n, d), d = 0 where they are not asked for."""

    terms: Floats
    features: Floats
    readable: NDArray[np.bool_]
    problem: str | None


def _read(
    slide: Slide,
    model: LoadedModel,
    drawing: Drawing,
    known: Floats,
    test: Betting | None,
    batch_size: int | None,
    threads: int,
    spent: Spent,
    on_progress: Callable[[int, int], None] | None,
) -> _Tiles:
    """The drawn tiles; with a test, only until it settles. Only those that are NaN in `known`, (n, C + d), are read."""
    classes = len(model.spec.classes)
    boxes, terms = drawing.boxes(), known.copy()
    readable: NDArray[np.bool_] = np.asarray(np.isfinite(terms).all(axis=1))
    done = int(readable.sum())
    problems: list[str] = []
    if on_progress:
        on_progress(done, len(boxes))
    group, batch = (GROUP, batch_size) if test is None else (ADAPTIVE_GROUP, ADAPTIVE_GROUP)
    stop = 0
    for start in range(0, len(boxes), group):
        stop = min(start + group, len(boxes))
        missing = start + np.flatnonzero(~readable[start:stop])
        some_terms = tile_terms(slide, model, boxes[missing], batch, threads, spent, problems, terms.shape[1] > classes)
        for some, could_read in some_terms if len(missing) else ():
            now, missing = missing[: len(some)], missing[len(some) :]
            terms[now], readable[now] = some, could_read
            done += len(some)
            if on_progress:
                on_progress(done, len(boxes))
        if test is not None:
            for i in range(start, stop):
                test.update(terms[i, :classes] if readable[i] else None, float(drawing.draw.attention[i]))
            if test.settled is not None:
                break
    first = problems[0] if problems else None
    return _Tiles(terms[:stop, :classes], terms[:stop, classes:], readable[:stop], first)


def _mass_lost(drawing: Drawing, tiles: _Tiles, most: float, name: str) -> float:
    """The share of the attention that lies on what cannot be read, estimated: of the view, and of the tiles drawn in
    the rest of it. Raises SlideError where it is more than `most`, or no tile can be read."""
    problem = tiles.problem or drawing.look.problem
    of_view = drawing.look.unreadable_share
    lost = of_view + (1 - of_view) * mass_lost(drawing.draw.weights, tiles.readable)
    if not tiles.readable.any():
        raise SlideError(f"{problem} None of the {len(tiles.readable)} tiles drawn can be read. Copy the file again.")
    if lost > most:
        raise SlideError(
            f"{problem} About {lost:.1%} of the attention is on what cannot be read, more than {most:.1%}. "
            f"Copy the file again, or go on without it: --max-unreadable {math.ceil(lost * 100) / 100:g}."
        )
    return lost


def _test(model: LoadedModel, bias: Floats, confidence: float) -> Betting:
    weights = model.spec.head_scale * model.nets.head.weight.cpu().double().numpy()
    return Betting(lowest_margins(weights), bias, 1 - confidence)


def _drawn_tiles(
    drawing: Drawing, weights: Floats, terms: Floats, readable: NDArray[np.bool_], bias: Floats, task: str
) -> tuple[DrawnTile, ...]:
    drawn = drawing.draw
    rows = zip(
        drawing.boxes()[readable].tolist(),
        drawn.attention[readable].tolist(),
        weights[readable].tolist(),
        drawn.draws[readable].tolist(),
        probabilities_of(terms + bias, task)[readable].tolist(),
        (weights[:, None] * terms)[readable].tolist(),
        strict=True,
    )
    return tuple(
        DrawnTile(
            x, y, width, height, attention, weight, draws, () if task == "regression" else tuple(own), tuple(share)
        )
        for (x, y, width, height), attention, weight, draws, own, share in rows
    )


def _kept(
    drawing: Drawing, weights: Floats, terms: Floats, readable: NDArray[np.bool_], bias: Floats, features: Floats | None
) -> TilesRead:
    drawn, look = drawing.draw, drawing.look
    return TilesRead(
        drawn.positions,
        drawn.attention,
        weights,
        drawn.draws,
        drawing.boxes(),
        terms,
        readable,
        bias,
        (look.rows, look.cols),
        None if drawing.race is None else drawing.race.log_z,
        features,
    )
