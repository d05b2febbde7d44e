"""Many slides -> a stream of Predictions. A bad slide is one record among the others, never the end of the run."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ats_cli.inference.predict import predict_slide
from ats_cli.records import Prediction, SlideError, TilesRead
from ats_cli.slides import Plane, SlideSource, open_slide
from ats_cli.zoo import LoadedModel


def predict_many(
    sources: Sequence[SlideSource],
    model: LoadedModel,
    *,
    backend: str | None = None,
    plane: Plane | None = None,
    before: Callable[[str], TilesRead | None] = lambda _: None,
    **how: Any,
) -> Iterator[Prediction]:
    """Yield one Prediction a slide, in order, each as it finishes.

    `backend` and `plane` are for `open_slide`; `how` are the keywords of `predict_slide`.

    `before`, by a slide's id: the tiles of a shorter race that this one goes on from, or None.
    A slide that fails has status "failed" and the sentence that says why.
    """
    for source in sources:
        start = time.perf_counter()
        try:
            with open_slide(source.path, mpp=source.mpp, backend=backend, plane=plane) as slide:
                opened = time.perf_counter() - start
                begun = before(source.slide_id)
                prediction = predict_slide(slide, model, slide_id=source.slide_id, before=begun, **how)
        except SlideError as error:
            yield _failed(source, model, str(error))
        except MemoryError:
            yield _failed(source, model, f"{source.path.name}: not enough memory for this slide. Use fewer --threads.")
        except Exception as error:
            # Whatever a library throws at one slide, its neighbours are still to be predicted.
            reason = " ".join(str(error).split())[:300]
            yield _failed(source, model, f"{source.path.name}: unforeseen {type(error).__name__} ({reason}).")
        else:
            total = time.perf_counter() - start
            seconds = {"open": round(opened, 4), **(prediction.seconds or {}), "total": round(total, 4)}
            yield replace(prediction, seconds=seconds)


def _failed(source: SlideSource, model: LoadedModel, sentence: str) -> Prediction:
    return Prediction(
        slide_id=source.slide_id,
        path=str(source.path),
        status="failed",
        error=sentence,
        classes=model.spec.classes,
        model_name=model.name,
        model_hash=model.hash,
    )
