"""Whether a run can be continued: with the same settings, model and slides; and which slides have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ats_cli.errors import AtsError
from ats_cli.records import Fingerprint, Prediction
from ats_cli.registry import NESTED_SAMPLER
from ats_cli.results.run.run_file import RunSlide

# Files whose samples are read at the same time: most of the time is spent waiting for a disk or a server.
THREADS = 16

TakeFingerprint = Callable[[str], Fingerprint | None]
"""Returns the current fingerprint of a slide by its id; None if it cannot be read."""


def refuse_other_settings(
    path: Path,
    of_run: tuple[Mapping[str, Any], Mapping[str, Any]],
    settings: Mapping[str, Any],
    model: Mapping[str, Any],
    extend: bool,
) -> None:
    """Raise AtsError if `settings` or `model` are not those `of_run`. With `extend`, there may be more tiles."""
    run_settings, _ = of_run
    if extend and run_settings["sampler"] != NESTED_SAMPLER:
        raise AtsError(
            f"{path}: drawn with {run_settings['sampler']}, and only a {NESTED_SAMPLER} run can be extended. "
            f"Start it over with --sampler {NESTED_SAMPLER} --overwrite."
        )
    if extend and settings["tiles"] < run_settings["tiles"]:
        raise AtsError(
            f"{path}: has {run_settings['tiles']} tiles a slide already, more than {settings['tiles']}. "
            "Give more --tiles."
        )
    wanted = {name: value for name, value in settings.items() if not (extend and name == "tiles")}
    differ = differences(of_run, wanted, model)
    if differ:
        raise AtsError(
            f"{path}: this run was made with {'; '.join(differ)}. "
            "Give the same, or another folder with -o, or --overwrite to start over."
        )


def differences(
    of_run: tuple[Mapping[str, Any], Mapping[str, Any]], settings: Mapping[str, Any], model: Mapping[str, Any]
) -> list[str]:
    """Return how the run differs in `settings` and in its model, as texts like "tiles 5, not 6"."""
    run_settings, run_model = of_run
    differ = [
        f"{name} {_said(run_settings.get(name))}, not {_said(value)}"
        for name, value in settings.items()
        if value != run_settings.get(name)
    ]
    if model["hash"] != run_model["hash"]:
        differ.insert(0, "model {name} ({hash})".format(**run_model) + ", not {name} ({hash})".format(**model))
    return differ


def changed_slides(
    path: Path,
    of_run: Mapping[str, RunSlide],
    records: Mapping[str, Prediction],
    slides: Sequence[RunSlide],
    take: TakeFingerprint | None,
) -> list[str]:
    """Return the ids of the slides whose file is not the one that was predicted.

    At the same path, a file has changed if its content or its time differs. At another path, it is the same slide,
    moved, if its content is equal. Raises AtsError for another file under the id of a slide of the run, and for a file
    of the run under another id. A slide counts as unchanged if its record has no fingerprint, or if none can be taken.
    Raises it also for a slide with another mpp, or other regions.
    """
    now = _taken((slide.slide_id for slide in slides if _mark(records, slide.slide_id) is not None), take)
    ids = {slide.path: slide.slide_id for slide in of_run.values()}
    other = "Give the slides as before, or another folder with -o."
    changed = []
    for slide in slides:
        before = of_run.get(slide.slide_id)
        if before is None and slide.path in ids:
            raise AtsError(f"{slide.path}: is {ids[slide.path]} in this run, not {slide.slide_id}. {other}")
        record = records.get(slide.slide_id)
        if before is None or record is None:
            continue
        mark, mark_now = record.provenance.fingerprint, now.get(slide.slide_id)
        moved, failed = slide.path != before.path, record.status == "failed"
        if moved and not failed and not _is_moved(slide.path, before.path, record, mark_now):
            raise AtsError(f"{slide.path}: slide {slide.slide_id} of this run is {before.path}. {other}")
        if not failed and slide.mpp != before.mpp:
            differ = f"mpp {_said(before.mpp)}, not {_said(slide.mpp)}"
            raise AtsError(f"{path}: slide {slide.slide_id} was read with {differ}. {other}")
        if not failed and slide.roi_content != before.roi_content:
            raise AtsError(
                f"{path}: slide {slide.slide_id} was read with {_regions_of(before)}, and now has "
                f"{_regions_of(slide)}. Give the same regions, or another folder with -o, or --overwrite to start over."
            )
        if (
            mark is not None
            and mark_now is not None
            and (mark.content if moved else mark) != (mark_now.content if moved else mark_now)
        ):
            changed.append(slide.slide_id)
    return changed


def _taken(slide_ids: Iterable[str], take: TakeFingerprint | None) -> dict[str, Fingerprint | None]:
    if take is None:
        return {}
    names = list(slide_ids)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(names, pool.map(take, names), strict=True))


def _mark(records: Mapping[str, Prediction], slide_id: str) -> Fingerprint | None:
    record = records.get(slide_id)
    return None if record is None else record.provenance.fingerprint


def _is_moved(path: str, before: str, record: Prediction, now: Fingerprint | None) -> bool:
    """Whether a slide at `path` is the one that was at `before`: by content, or by name and size if none is known."""
    if record.provenance.fingerprint is not None and now is not None:
        return record.provenance.fingerprint.content == now.content
    file = Path(path)
    return file.name == Path(before).name and file.is_file() and file.stat().st_size == record.cost.bytes_total


def _regions_of(slide: RunSlide) -> str:
    if slide.roi is None:
        return "no regions"
    return f"the regions {Path(slide.roi).name} ({slide.roi_content or 'not readable'})"


def _said(value: object) -> str:
    return "none" if value is None else str(value)
