"""`predict` for Python programs: one slide, with the defaults of the command line."""

import time
from pathlib import Path
from typing import Any

from ats_cli.inference.compute.device import resolve_device, resolve_precision
from ats_cli.inference.compute.forward_pool import one_thread_per_pass
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.inference.executors.executor import usable_cores
from ats_cli.inference.predict import predict_slide, with_opening
from ats_cli.plain_options import check_device, check_precision
from ats_cli.records import Prediction
from ats_cli.slides import Slide, open_slide
from ats_cli.slides.identity.fingerprint import fingerprint_of
from ats_cli.slides.inputs.discovery import stem
from ats_cli.slides.regions.region_files import read_regions
from ats_cli.slides.regions.slide_regions import Regions
from ats_cli.zoo import LoadedModel, find_model, load_model


def predict(
    slide: Slide | str | Path,
    model: LoadedModel | str | Path | None = None,
    *,
    mpp: float | None = None,
    backend: str | None = None,
    regions: Regions | str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    **draw: Any,
) -> Prediction:
    """Classify a slide. `prediction_dict` of the result is the record of `ats predict SLIDE --json`.

    slide: a path, a URL, or a slide from `open_slide`.
    model: a folder, a name, None for the default, or a model from `load_model`, to load it once for many slides.
    mpp, backend: options of `open_slide`, for a path or a URL.
    regions: a GeoJSON file, or what `read_regions` returned, to draw tiles from these only.
    device, precision: options of `load_model`, for a model that is not loaded yet.
    draw: fields of `DrawOptions`, like `tiles`, `sampler`, `seed`, `confidence`, `exhaustive`.

    Raises SlideError for a slide that cannot be predicted and ModelError for a model that is not found; AtsError for an
    option that makes no sense, before the slide is opened.
    """
    check_device(device)
    check_precision(precision)
    options = DrawOptions(**{"threads": usable_cores(), **draw})
    if isinstance(model, LoadedModel) and (device, precision) != ("auto", "auto"):
        raise TypeError("device and precision are options for loading a model, but this model is loaded")
    start = time.perf_counter()
    if not isinstance(slide, Slide):
        with open_slide(slide, mpp=mpp, backend=backend) as opened:
            fingerprint = fingerprint_of(opened)
            open_seconds = time.perf_counter() - start
            prediction = predict(opened, model, regions=regions, device=device, precision=precision, **draw)
        total = open_seconds + (prediction.cost.seconds or {}).get("total", 0.0)
        return with_opening(prediction, fingerprint, open_seconds, total)
    if mpp is not None or backend is not None:
        raise TypeError("mpp and backend are options for opening a slide, but this slide is open")
    if not isinstance(model, LoadedModel):
        folder, device = find_model(None if model is None else str(model)), resolve_device(device)
        model = load_model(folder, device, resolve_precision(precision, device, folder.spec.features))
    if isinstance(regions, str | Path):
        regions = read_regions(regions)
    placed = None if regions is None else regions.on(slide)
    with one_thread_per_pass():
        return predict_slide(slide, model, options, slide_id=stem(slide.path.name), regions=placed)
