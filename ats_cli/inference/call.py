"""`predict` from Python: one slide, with what the command line fills in filled in."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ats_cli.inference.device import resolve_device, resolve_precision
from ats_cli.inference.draw_options import DrawOptions
from ats_cli.inference.passes import one_thread_per_pass
from ats_cli.inference.predict import predict_slide
from ats_cli.inference.run import usable_cores
from ats_cli.records import Prediction
from ats_cli.slides import Slide, open_slide
from ats_cli.slides.find import stem
from ats_cli.slides.fingerprint import fingerprint_of
from ats_cli.zoo import LoadedModel, find_model, load_model


def predict(
    slide: Slide | str | Path,
    model: LoadedModel | str | Path | None = None,
    *,
    mpp: float | None = None,
    backend: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    **draw: Any,
) -> Prediction:
    """Classify a slide: the record, and the figures, of `ats predict SLIDE --json` (`prediction_dict` is that line).

    `slide`: a path, a URL, or what `open_slide` gave. `mpp` and `backend` are for opening it. `model`: a folder, a
    name, None for the default, or what `load_model` gave, which is loaded once for many slides and has its own device
    and precision. `draw`: the fields of `DrawOptions`, like `tiles`, `sampler`, `seed`, `confidence`, `exhaustive`.

    Raises SlideError for a slide that cannot be predicted and ModelError for a model that is not there, each with a
    sentence.
    """
    start = time.perf_counter()
    if not isinstance(slide, Slide):
        with open_slide(slide, mpp=mpp, backend=backend) as opened:
            mark = fingerprint_of(opened)
            took = time.perf_counter() - start
            prediction = predict(opened, model, device=device, precision=precision, **draw)
        spent = prediction.seconds or {}
        total = round(took + spent.get("total", 0.0), 4)
        return replace(prediction, seconds={"open": round(took, 4), **spent, "total": total}, fingerprint=mark)
    if mpp is not None or backend is not None:
        raise TypeError("mpp and backend are for opening a slide, and this one is open")
    if not isinstance(model, LoadedModel):
        folder, device = find_model(None if model is None else str(model)), resolve_device(device)
        model = load_model(folder, device, resolve_precision(precision, device, folder.spec.features))
    options = DrawOptions(**{"threads": usable_cores(), **draw})
    with one_thread_per_pass():
        return predict_slide(slide, model, options, slide_id=stem(slide.path.name))
