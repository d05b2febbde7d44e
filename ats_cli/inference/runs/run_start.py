"""Opening the run folder of a request, and beginning or continuing the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ats_cli.errors import AtsError
from ats_cli.inference.runs.prediction_request import PredictionRequest
from ats_cli.records import Need, Prediction
from ats_cli.registry import NESTED_SAMPLER
from ats_cli.results.run.folder import RunFolder
from ats_cli.results.run.provenance import facts
from ats_cli.results.run.request import RunRequest
from ats_cli.results.run.run_file import RunSlide
from ats_cli.results.run.slide_files import optional_writers
from ats_cli.slides import AnyPath, SlideSource, slide_path
from ats_cli.slides.identity.fingerprint import fingerprint
from ats_cli.slides.regions.region_files import RegionFile
from ats_cli.text import encodable, existing_path
from ats_cli.zoo import ModelFolder

NAMED = 5  # slides that are named in one message


def open_run(request: PredictionRequest) -> RunFolder | None:
    """Return the run folder of a request, None if it names none. Raises AtsError if its options contradict."""
    extend, overwrite = request.extend, request.overwrite
    if request.output is None:
        options = {"--extend": extend, "--retry-failed": request.retry_failed, "--overwrite": overwrite}
        options |= {f"--{option.replace('=', ' ')}": True for option in sorted(request.outputs)}
        for option, given in options.items():
            if given:
                raise AtsError(f"{option} is about a run folder. Name it with -o.")
        return None
    if extend and overwrite:
        raise AtsError("--extend continues a run and --overwrite starts it over. Leave one of them out.")
    if extend and "tiles" not in request.settings:
        raise AtsError("--extend needs the number of tiles to come to. Give --tiles.")
    optional_writers(request.outputs)
    run = RunFolder(request.output, request.outputs)
    if extend and not run.exists:
        raise AtsError(
            f"{request.output}: no run here to extend. Run it with --sampler {NESTED_SAMPLER} first, without --extend."
        )
    return run


def sources_of_run(run: RunFolder, request: PredictionRequest) -> list[SlideSource]:
    """Return the slides of a run, then those of the request that are new to it.

    The request may name the new place of a slide that was moved, its mpp and its regions.
    """
    given = {source.slide_id: source for source in request.sources}
    old = []
    for slide in run.slides.values():
        source = given.pop(slide.slide_id, None) or SlideSource(slide.slide_id, _path(slide.path), request.mpp)
        roi = source.roi
        if roi is None and request.roi is None and slide.roi is not None:
            roi = RegionFile(existing_path(slide.roi), slide.roi_content)
        old.append(replace(source, mpp=source.mpp or slide.mpp, group=source.group or slide.group, roi=roi))
    return old + list(given.values())


def begin_run(
    run: RunFolder,
    request: PredictionRequest,
    sources: Sequence[SlideSource],
    settings: Mapping[str, Any],
    model: ModelFolder,
    device: str,
) -> dict[str, Prediction]:
    """Begin a run or continue it; return the predictions that it already has, by slide id."""
    paths = {source.slide_id: source.path for source in sources}
    shard = None if request.shard is None else "{}/{}".format(*request.shard)
    return run.begin(
        RunRequest(
            [_run_slide(source) for source in sources],
            settings,
            {"name": model.spec.name, "hash": model.hash, "folder": str(model.path.absolute())},
            model.spec.classes,
            facts(request.arguments, device) | {"shard": shard, "notice": model.spec.notice},
            task=model.spec.task,
            group_by=request.group_by,
        ),
        fingerprint=lambda slide_id: fingerprint(paths[slide_id]),
        extend=request.extend,
        retry_failed=request.retry_failed,
        overwrite=request.overwrite,
    )


def _run_slide(source: SlideSource) -> RunSlide:
    roi, content = (None, None) if source.roi is None else (_text_of(source.roi.path), source.roi.content)
    return RunSlide(source.slide_id, _text_of(source.path), source.mpp, source.group, roi, content)


def changed_files(slide_ids: Sequence[str]) -> str:
    """Return the sentence about slides whose files have changed since they were predicted."""
    more = f" and {len(slide_ids) - NAMED} more" if len(slide_ids) > NAMED else ""
    names = ", ".join(slide_ids[:NAMED])
    return f"{names}{more}: the file has changed since it was predicted. It is predicted again."


def sentence_about_reading(slides: int, needs: Collection[Need]) -> str:
    """Return the sentence about what is read again for outputs that are added to finished slides."""
    parts = {"attention": "the low-resolution view", "view": "the low-resolution view", "patches": "the drawn tiles"}
    parts["features"] = parts["patches"]
    read = " and ".join(dict.fromkeys(text for need, text in parts.items() if need in needs))
    read = read or "the slide's header"
    are, verb = ("slide is", "slides are")[slides > 1], "are" if read.endswith("tiles") else "is"
    return f"{slides} {are} predicted already: only {read} {verb} read again, for the outputs asked for."


def _text_of(path: AnyPath) -> str:
    """Return a slide's path as a run folder records it: absolute, without secrets, as text that JSON can hold."""
    return encodable(str(path.absolute() if isinstance(path, Path) else path))


def _path(text: str) -> AnyPath:
    """Return the path that `_text_of` recorded."""
    return slide_path(text) if "://" in text else existing_path(text)
