"""One task -> one Prediction, also when the slide fails: the function that every executor calls."""

import time
from dataclasses import replace
from functools import partial

from ats_cli.errors import SlideError, clean
from ats_cli.inference.compute.device import resolve_device, resolve_precision
from ats_cli.inference.compute.forward_pool import set_one_thread_per_pass
from ats_cli.inference.compute.malloc_tuning import tune_malloc
from ats_cli.inference.context import PredictionContext
from ats_cli.inference.executors.slide_task import ModelConfig, OnProgress, SlideTask, failed
from ats_cli.inference.predict import predict_slide, with_opening
from ats_cli.inference.slide_pixels import with_pixels
from ats_cli.records import Fingerprint, Prediction
from ats_cli.slides import RemotePath
from ats_cli.slides.identity.fingerprint import fingerprint, fingerprint_of
from ats_cli.slides.opening import open_with
from ats_cli.zoo import LoadedModel, load_model


def predict_task(task: SlideTask, model: LoadedModel, on_progress: OnProgress | None = None) -> Prediction:
    """Open a slide and classify it. One that fails has status "failed" and the sentence that says why."""
    source, start = task.source, time.perf_counter()
    tiles_read = None if on_progress is None else partial(on_progress, source.slide_id)
    # Taken before reading: the record of a slide that is replaced meanwhile has the fingerprint of the old file.
    mark = None if isinstance(source.path, RemotePath) else fingerprint(source.path)
    try:
        if isinstance(task.regions, SlideError):
            raise task.regions
        with open_with(source.path, task.open_options, source.mpp) as slide:
            # A remote fingerprint comes from the open slide: one request, and the version that is read.
            mark = mark or fingerprint_of(slide)
            opened = time.perf_counter() - start
            regions = None if task.regions is None else task.regions.on(slide)
            if task.predicted is not None:
                _refuse_other_file(source.path.name, task.predicted.provenance.fingerprint, mark)
                context = PredictionContext(slide, model, task.draw_options.threads, regions)
                return with_pixels(task.predicted, context, task.pixels)
            prediction = predict_slide(
                slide,
                model,
                task.draw_options,
                slide_id=source.slide_id,
                before=task.before,
                pixels=task.pixels,
                on_progress=tiles_read,
                regions=regions,
            )
    except SlideError as error:
        return failed(source, model, str(error), error.kind, mark)
    except MemoryError:
        sentence = f"{source.path.name}: not enough memory for this slide. Use fewer --threads."
        return failed(source, model, sentence, "memory", mark)
    except Exception as error:
        # An unexpected error of a library fails this slide only.
        reason = clean(" ".join(str(error).split()))[:300]
        sentence = f"{source.path.name}: unforeseen {type(error).__name__} ({reason})."
        return failed(source, model, sentence, "unforeseen", mark)
    prediction = replace(prediction, path=source.given)
    return with_opening(prediction, mark, opened, time.perf_counter() - start)


def _refuse_other_file(name: str, predicted: Fingerprint | None, mark: Fingerprint | None) -> None:
    """Raise SlideError where the file is not the one that was predicted."""
    if predicted is not None and mark is not None and predicted.content != mark.content:
        sentence = "the file has changed since it was predicted. Predict it again with `ats predict`."
        raise SlideError(sentence, name=name)


def load_configured_model(config: ModelConfig) -> LoadedModel:
    """Load the model onto its device. AtsError if the model or the device is not available."""
    tune_malloc()
    set_one_thread_per_pass()
    device = resolve_device(config.device)
    return load_model(config.model, device, resolve_precision(config.precision, device, config.model.spec.features))
