"""One job -> one Prediction, whatever happens: the function that every process of every kind of run calls."""

import time
from dataclasses import replace
from functools import partial

from ats_cli.inference.device import resolve_device, resolve_precision
from ats_cli.inference.heap import keep_heap
from ats_cli.inference.job import Engine, Job, Told, failed
from ats_cli.inference.passes import one_thread_a_pass
from ats_cli.inference.predict import predict_slide
from ats_cli.records import Prediction, SlideError, clean
from ats_cli.slides import RemotePath, open_slide
from ats_cli.slides.fingerprint import fingerprint, fingerprint_of
from ats_cli.zoo import LoadedModel, load_model


def predict_one(job: Job, model: LoadedModel, told: Told | None = None) -> Prediction:
    """Open a slide and classify it. One that fails has status "failed" and the sentence that says why."""
    source, start = job.source, time.perf_counter()
    how = {**job.drawing, "slide_id": source.slide_id, "before": job.before}
    if told is not None:
        how["progress"] = partial(told, source.slide_id)
    # Before it is read: of a slide that is replaced meanwhile, the record is of what was there before.
    mark = None if isinstance(source.path, RemotePath) else fingerprint(source.path)
    try:
        with open_slide(source.path, mpp=source.mpp, **job.reading) as slide:
            # A server that does not answer is waited for once; and its slide is read as one version, or fails.
            mark = mark or fingerprint_of(slide)
            opened = time.perf_counter() - start
            prediction = predict_slide(slide, model, **how)
    except SlideError as error:
        return failed(source, model, str(error), error.kind, mark)
    except MemoryError:
        sentence = f"{source.path.name}: not enough memory for this slide. Use fewer --threads."
        return failed(source, model, sentence, "memory", mark)
    except Exception as error:
        # Whatever a library throws at one slide, its neighbours are still to be predicted.
        reason = clean(" ".join(str(error).split()))[:300]
        sentence = f"{source.path.name}: unforeseen {type(error).__name__} ({reason})."
        return failed(source, model, sentence, "unforeseen", mark)
    total = time.perf_counter() - start
    seconds = {"open": round(opened, 4), **(prediction.seconds or {}), "total": round(total, 4)}
    return replace(prediction, seconds=seconds, fingerprint=mark)


def start_engine(engine: Engine) -> LoadedModel:
    """Load the nets onto their device. AtsError where they, or it, are not to be had."""
    keep_heap()
    one_thread_a_pass()
    device = resolve_device(engine.device)
    return load_model(engine.model, device, resolve_precision(engine.precision, device, engine.model.spec.features))
