"""One prediction for a group of slides, usually those of a patient, combined from the predictions of its slides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ats_cli.prediction_parts import Sampling
from ats_cli.records import DEFAULT_TASK, Prediction
from ats_cli.registry import TASKS
from ats_cli.results.columns import answer_columns, cells, headings
from ats_cli.results.files import csv_bytes
from ats_cli.results.record import prediction_dict

Floats = NDArray[np.float64]
Weights = Literal["equal", "tissue"]


class GroupBy(NamedTuple):
    """The column of a manifest that groups the slides, and their weights: equal, or by area of tissue."""

    column: str
    weights: Weights = "equal"


@dataclass(frozen=True)
class Group:
    """The result of a group.

    slides, failed: ids of the slides that were predicted, and of those that failed. unfamiliar: how many of `slides`
    are unfamiliar.
    prediction: like that of a slide, with the group's name as its id; tiles and positions are sums. Its status is
    "failed" if all slides failed.
    """

    slides: tuple[str, ...]
    failed: tuple[str, ...]
    unfamiliar: int
    weights: Weights
    prediction: Prediction


def grouped(group_of: Mapping[str, str], found: Mapping[str, Prediction], weights: Weights) -> list[Group]:
    """Return the groups whose slides are all in `found`, in the order of `group_of` (slide id -> group).

    A group that lacks a slide has no row: a part of its slides would be taken for all.
    """
    members: dict[str, list[str]] = {}
    for slide_id, group in group_of.items():
        members.setdefault(group, []).append(slide_id)
    return [
        together(group, [found[slide_id] for slide_id in ids], weights)
        for group, ids in members.items()
        if all(slide_id in found for slide_id in ids)
    ]


def together(name: str, slides: Sequence[Prediction], weights: Weights) -> Group:
    """Combine the slides of a group: its logits are the weighted mean L = sum_i w_i L_i over those that did not fail.

    w_i is 1 / n, or the slide's share of all positions. In a model with scales in microns all positions have the same
    size, so that this is the share of the tissue if the model draws from tissue only. The draws of the slides are
    independent and w is fixed, so

        se(L)^2 = sum_i w_i^2 se(L_i)^2.

    The probabilities are those of L. Their standard errors are computed from the logit of each class against the
    others, log p / (1 - p), whose standard error is se(p) / (p (1 - p)):

        se(p) = p (1 - p) sqrt(sum_i w_i^2 (se(p_i) / (p_i (1 - p_i)))^2).

    This is exact to first order for two classes and for independent labels. With more classes it assumes that the
    ratios of the other classes are those of each slide. The half widths of the intervals are combined in the same way,
    on the scale on which they are symmetric. The group has no errors if a slide has none. `se_kind` is the weakest of
    the slides' kinds.
    """
    good = [p for p in slides if p.status == "ok" and p.logits is not None]
    failed = tuple(p.slide_id for p in slides if p.status != "ok")
    first = good[0] if good else slides[0]
    if not good:
        how_many = "its slide" if len(slides) == 1 else f"none of its {len(slides)} slides"
        error = f"{name}: {how_many} could {'not ' if len(slides) == 1 else ''}be predicted."
        failure = Prediction(name, "", "failed", error, classes=first.classes, task=first.task)
        return Group((), failed, 0, weights, failure)
    w = np.array([1.0 if weights == "equal" else float(p.sampling.positions or 0) for p in good])
    w /= w.sum()
    logits = w @ np.array([p.logits for p in good], np.float64)
    logits_se = _root(w, [p.logits_se for p in good])
    task = TASKS[first.task]
    p = task.probabilities(logits)
    prediction = Prediction(
        slide_id=name,
        path="",
        status="ok",
        predicted=task.predicted(logits, first.classes),
        classes=first.classes,
        probabilities=None if p is None else _tuple(p),
        se=None if p is None else _of_probabilities(w, p, good),
        **_interval(w, logits, good),
        logits=_tuple(logits),
        logits_se=logits_se,
        se_kind=None if logits_se is None else _least([p.se_kind for p in good]),
        sampling=Sampling(
            tiles=sum(p.sampling.tiles or 0 for p in good), positions=sum(p.sampling.positions or 0 for p in good)
        ),
        model=first.model,
        task=task.name,
        value=task.value(logits),
        se_value=None if logits_se is None else task.value(np.array(logits_se)),
    )
    unfamiliar = sum(bool(p.comparison.unfamiliar) for p in good)
    return Group(tuple(p.slide_id for p in good), failed, unfamiliar, weights, prediction)


def group_dict(group: Group) -> dict[str, Any]:
    """Return a group as JSON-ready values: the line of `--json`."""
    record = prediction_dict(group.prediction)
    shared = (
        "status", "error", "predicted", "classes", "probabilities", "se", "low", "high", "logits", "logits_se",
        "se_kind", "tiles", "positions", "model", "task", "value", "se_value", "low_value", "high_value",
    )  # fmt: skip
    return {
        "schema_version": record["schema_version"],
        "group": group.prediction.slide_id,
        **{name: record[name] for name in shared},
        "slides": list(group.slides),
        "slides_failed": list(group.failed),
        "slides_unfamiliar": group.unfamiliar,
        "weights": group.weights,
    }


def groups_csv(classes: tuple[str, ...], groups: Iterable[Group], task: str = DEFAULT_TASK) -> bytes:
    """Return predictions_by_group.csv. A value that does not apply is an empty cell."""
    answer = [heading for column in answer_columns(task) for heading in headings(column, classes)]
    heading: list[object] = [
        "group", "status", "predicted", *answer, "se_kind", "slides", "slides_failed", "slides_unfamiliar", "tiles",
        "positions", "failed", "error",
    ]  # fmt: skip
    return csv_bytes([heading, *(_row(group, len(classes), task) for group in groups)])


def _row(group: Group, classes: int, task: str) -> list[object]:
    p = group.prediction
    answer = [cell for column in answer_columns(task) for cell in cells(column, p, classes)]
    return [
        p.slide_id, p.status, p.predicted, *answer, p.se_kind, len(group.slides), len(group.failed), group.unfamiliar,
        p.sampling.tiles, p.sampling.positions, ";".join(group.failed), p.error,
    ]  # fmt: skip


def _of_probabilities(w: Floats, p: Floats, slides: Sequence[Prediction]) -> tuple[float, ...] | None:
    """Return the standard errors of the group's probabilities `p`, see `together`; None if they are not known."""
    if any(slide.se is None for slide in slides):
        return None
    complement = TASKS[slides[0].task].complement
    own, errors = np.array([slide.probabilities for slide in slides]), np.array([slide.se for slide in slides])
    with np.errstate(divide="ignore", invalid="ignore"):
        of_logits = _root(w, errors / (own * complement(own)))
    return None if of_logits is None else _tuple(p * complement(p) * np.array(of_logits))


def _interval(w: Floats, logits: Floats, slides: Sequence[Prediction]) -> dict[str, Any]:
    """Return the fields of the group's 95 % interval, none if a slide has none."""
    task = TASKS[slides[0].task]
    numbers = task.probabilities(logits) is None
    names = ("low_value", "high_value") if numbers else ("low", "high")
    ends = [[getattr(slide, name) for name in names] for slide in slides]
    if any(end is None for pair in ends for end in pair):
        return {}
    low, high = np.moveaxis(np.array(ends, np.float64).reshape(len(slides), 2, -1), 1, 0)
    if not numbers:
        with np.errstate(divide="ignore"):
            low, high = (np.log(end) - np.log(1 - end) for end in (low, high))
    width = _root(w, (high - low) / 2)
    if width is None:
        return {}
    answers, _ = task.to_interval_scale(logits)
    found = [task.from_interval_scale(answers + side * np.array(width)) for side in (-1, 1)]
    return {name: float(end[0]) if numbers else _tuple(end) for name, end in zip(names, found, strict=True)}


def _root(w: Floats, errors: Any) -> tuple[float, ...] | None:
    """Return sqrt(sum_i w_i^2 e_i^2) of each column of `errors` (n, C); None if a row is missing or not finite."""
    if any(row is None for row in errors):
        return None
    sums = np.sqrt(w**2 @ np.square(np.array(errors, np.float64)))
    return _tuple(sums) if np.isfinite(sums).all() else None


def _least(kinds: Sequence[str | None]) -> Any:
    order = ("nominal", "approximate", "unbiased")
    return next((kind for kind in order if kind in kinds), None)


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(values.tolist())
