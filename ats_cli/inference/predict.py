"""One slide -> one Prediction: compute the attention, draw tiles, read them, estimate, report the sampling error."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ats_cli.errors import SlideError
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.draws.plan import DrawPlan, plan_draw
from ats_cli.inference.draws.resume_race import resume_race
from ats_cli.inference.draws.stopping_rule import StoppingRule
from ats_cli.inference.estimate import Estimate, attention_mass, estimate_from, with_answer
from ats_cli.inference.slide_pixels import with_pixels
from ats_cli.inference.tile_terms import TileTerms, read_tile_terms
from ats_cli.prediction_parts import Comparison, Cost, ModelName, Provenance, Sampling
from ats_cli.records import NO_PIXELS, DrawnTile, Fingerprint, PixelRequest, Prediction, TilesRead
from ats_cli.registry import TASKS
from ats_cli.sampling import effective_tiles, mass_lost
from ats_cli.slides import Slide
from ats_cli.slides.regions.slide_regions import SlideRegions
from ats_cli.zoo import LoadedModel

Floats = NDArray[np.float64]


def predict_slide(
    slide: Slide,
    model: LoadedModel,
    options: DrawOptions | None = None,
    *,
    slide_id: str | None = None,
    before: TilesRead | None = None,
    pixels: PixelRequest = NO_PIXELS,
    on_progress: Callable[[int, int], None] | None = None,
    regions: SlideRegions | None = None,
) -> Prediction:
    """Classify a slide from some of its tiles.

    before: a shorter race over this slide with the same seed. Its tiles are not read again, except those that could not
    be read.
    pixels: pictures of the slide to add to the prediction, for writers.
    on_progress: called as tiles are read, with the number read and the number to read.
    regions: tiles are drawn from these only.

    The same slide, seed and model give the same draw, independent of other slides. If drawn tiles cannot be read, the
    estimate is the ratio over the others. Raises SlideError if more than `options.max_unreadable` of the
    attention, as estimated, lies on what cannot be read; if nothing can be read; if the slide has no tissue, or no
    microns per pixel and the model needs them; if `before` was drawn on another slide.
    """
    options = options or DrawOptions()
    _refuse_confidence(slide, model, options)
    start = time.perf_counter()
    context = PredictionContext(slide, model, options.threads, regions)
    plan = plan_draw(context, options)
    bytes_view = slide.bytes_read
    bias = model.nets.head.bias.cpu().double().numpy()
    stopping_rule = None if options.confidence is None else StoppingRule(model, bias, options.confidence)
    with_embedding = model.computes_embedding and (before is None or before.features is not None)
    width = len(bias) + 1 + (model.nets.summary_width if with_embedding else 0)
    tiles = read_tile_terms(
        context,
        plan,
        resume_race(plan, before, width, context.file_name),
        batch_size=options.batch_size,
        stopping_rule=stopping_rule,
        on_progress=on_progress,
    )
    plan = plan.first(len(tiles.terms))
    mass_unreadable = _mass_unreadable(plan, tiles, options.max_unreadable)
    tile_arrays = _tile_arrays(plan, tiles, model, with_embedding)
    estimate = estimate_from(plan.draw, tile_arrays, stopping_rule is not None, model.spec.task)
    tile_arrays = replace(tile_arrays, weights=estimate.weights)
    embedding = _embedding(plan, tiles, estimate) if with_embedding else None
    seconds = {**context.stopwatch.seconds, "total": time.perf_counter() - start}
    prediction = Prediction(
        slide_id=slide_id or slide.path.stem,
        path=str(slide.path),
        status="ok",
        classes=model.spec.classes,
        task=model.spec.task,
        sampling=replace(
            _sampling(plan, tiles, estimate, options),
            mass_unreadable=mass_unreadable,
            settled=None if stopping_rule is None else stopping_rule.settled is not None,
        ),
        cost=Cost(
            bytes_read=slide.bytes_read,
            bytes_view=bytes_view,
            bytes_total=slide.bytes_total,
            seconds={stage: round(value, 4) for stage, value in seconds.items()},
        ),
        provenance=_provenance(context, plan),
        comparison=_comparison(model, embedding),
        model=ModelName(model.name, model.hash),
        drawn=() if options.exhaustive else _drawn_tiles(tile_arrays, model.spec.task),
        tile_arrays=tile_arrays,
    )
    prediction = with_answer(prediction, estimate)
    return with_pixels(prediction, context, pixels, plan.attention) if pixels.needs else prediction


def with_opening(prediction: Prediction, mark: Fingerprint | None, opened: float, total: float) -> Prediction:
    """Return the prediction of a slide that was opened for it: its fingerprint, the seconds to open it and in total."""
    seconds = {"open": round(opened, 4), **(prediction.cost.seconds or {}), "total": round(total, 4)}
    return replace(
        prediction,
        cost=replace(prediction.cost, seconds=seconds),
        provenance=replace(prediction.provenance, fingerprint=mark),
    )


def _refuse_confidence(slide: Slide, model: LoadedModel, options: DrawOptions) -> None:
    """Raise SlideError where the draw is to stop at a settled class and the model has no classes."""
    if options.confidence is not None and not TASKS[model.spec.task].can_settle:
        what = f"{slide.path.name}: a {model.spec.task} model has no class to settle."
        raise SlideError(f"{what} Leave out --adaptive and --confidence.")


def _mass_unreadable(plan: DrawPlan, tiles: TileTerms, max_unreadable: float) -> float:
    """Return the estimated share of the attention on what cannot be read: in the view, and in the rest by its tiles.

    Raises SlideError if it is more than `max_unreadable`, or if no tile can be read.
    """
    problem = tiles.problem or plan.totals.problem
    in_view = plan.totals.damaged_share
    share = in_view + (1 - in_view) * mass_lost(plan.draw.weights, tiles.readable)
    if not tiles.readable.any():
        raise SlideError(f"{problem} None of the {len(tiles.readable)} tiles drawn can be read. Copy the file again.")
    if share > max_unreadable:
        raise SlideError(
            f"{problem} About {share:.1%} of the attention is on what cannot be read, more than {max_unreadable:.1%}. "
            f"Copy the file again, or accept it: --max-unreadable {math.ceil(share * 100) / 100:g}."
        )
    return share


def _sampling(plan: DrawPlan, tiles: TileTerms, estimate: Estimate, options: DrawOptions) -> Sampling:
    """Return what was drawn, without what is known only from the damage or from the stopping rule."""
    return Sampling(
        tiles=len(tiles.terms),
        positions=plan.totals.positions,
        attention_mass=attention_mass(plan.draw, tiles.readable),
        effective_positions=plan.effective_positions,
        effective_tiles=effective_tiles(estimate.weights),
        tiles_unreadable=int(np.count_nonzero(~tiles.readable)),
        sampler=options.sampler_name,
        seed=options.seed,
    )


def _provenance(context: PredictionContext, plan: DrawPlan) -> Provenance:
    slide = context.slide
    return Provenance(
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        reader=slide.reader,
        regions=None if context.regions is None else context.regions.used,
        precision=context.model.precision,
        size=(slide.width, slide.height),
        bounds=None if slide.bounds is None else tuple(slide.bounds),
        pitch=plan.geometry.pitch,
    )


def _embedding(plan: DrawPlan, tiles: TileTerms, estimate: Estimate) -> Floats | None:
    """Return the vector by which slides are compared: of the view's channels, then of the tiles' features."""
    of_view = plan.totals.embedding
    return None if of_view is None else np.concatenate([of_view.vector(), estimate.weights @ tiles.features])


def _comparison(model: LoadedModel, embedding: Floats | None) -> Comparison:
    """Return the comparison of the slide with the training slides; only the embedding, if the model knows none."""
    reference = model.out_of_distribution
    score = None if embedding is None or reference is None else reference.score(embedding)
    if score is None or reference is None:
        return Comparison(embedding=embedding)
    return Comparison(score > 1, score, reference.reference_slides, embedding)


def _drawn_tiles(tiles: TilesRead, task: str) -> tuple[DrawnTile, ...]:
    """Return the readable tiles as records."""
    readable, terms, weights = tiles.readable, tiles.terms, tiles.weights
    of_tiles = TASKS[task].probabilities(terms + tiles.bias)
    rows = zip(
        tiles.boxes[readable].tolist(),
        tiles.attention[readable].tolist(),
        weights[readable].tolist(),
        tiles.draws[readable].tolist(),
        [()] * int(readable.sum()) if of_tiles is None else of_tiles[readable].tolist(),
        (weights[:, None] * terms)[readable].tolist(),
        tiles.gates[readable].tolist(),
        strict=True,
    )
    return tuple(
        DrawnTile(x, y, width, height, attention, weight, draws, tuple(probabilities), tuple(share), gate)
        for (x, y, width, height), attention, weight, draws, probabilities, share, gate in rows
    )


def _tile_arrays(plan: DrawPlan, tiles: TileTerms, model: LoadedModel, with_embedding: bool) -> TilesRead:
    """Return all tiles as arrays, with what a longer race needs to resume from them, and the weights of the draw."""
    return TilesRead(
        positions=plan.draw.positions,
        attention=plan.draw.attention,
        weights=plan.draw.weights,
        draws=plan.draw.draws,
        boxes=plan.boxes(),
        terms=tiles.terms,
        readable=tiles.readable,
        bias=model.nets.head.bias.cpu().double().numpy(),
        grid=plan.grid,
        log_z=None if plan.race is None else plan.race.log_z,
        features=tiles.features if with_embedding else None,
        region=plan.totals.region(plan.grid[1]),
        gate=None if model.nets.gate is None else tiles.gate,
        term_range=model.nets.term_range.cpu().double().numpy(),
    )
