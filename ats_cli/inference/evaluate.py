"""Labelled slides, and their predictions at several budgets."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ats_cli.errors import AtsError
from ats_cli.inference.draws.truncate_to_budget import truncate_to_budget
from ats_cli.records import MAX_UNREADABLE, Prediction
from ats_cli.registry import SAMPLERS
from ats_cli.slides import SlideSource
from ats_cli.slides.identity.same_slide import contents_of
from ats_cli.slides.inputs.class_folders import class_folders
from ats_cli.slides.inputs.data_summary import DataSummary, InputNotes, SummaryRow, summarise
from ats_cli.slides.inputs.discovery import slide_ids
from ats_cli.slides.inputs.duplicates import Occurrence, each_once
from ats_cli.slides.inputs.labels import class_of
from ats_cli.slides.inputs.manifest import read_manifest
from ats_cli.slides.inputs.splits import SPLITS, split_of
from ats_cli.slides.regions.region_files import region_file

_log = logging.getLogger(__name__)

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class Labelled:
    """A slide and its class. `group`: slides of one group (a patient) are dependent; by default a slide is a group."""

    source: SlideSource
    label: str
    group: str


@dataclass(frozen=True)
class Rows:
    """The split of each slide that is used, and of each that is left out; "" for none.

    `notes`: what else the table or the folder holds.
    """

    taken: tuple[str, ...]
    left: tuple[str, ...] = ()
    notes: InputNotes = field(default_factory=InputNotes)
    unit: str = "rows"

    def as_dict(self) -> dict[str, Any]:
        """Return the number of rows in total and by split."""
        by_split = {"taken_by_split": dict(Counter(self.taken)), "left_by_split": dict(Counter(self.left))}
        return {"taken": len(self.taken), "left": len(self.left), **by_split}

    def __str__(self) -> str:
        if not any(self.taken + self.left):
            return f"all {len(self.taken)} {self.unit} are taken; none has a split."
        taken = f"{len(self.taken)} of {len(self.taken) + len(self.left)} {self.unit} are taken{_by_split(self.taken)}"
        warning = " Of slides that the model was trained on, the figures are too good." if TRAIN in self.taken else ""
        return f"{taken}, {len(self.left)} left out{_by_split(self.left)}.{warning}"


def _by_split(splits: Sequence[str]) -> str:
    """ " (2 train, 1 without a split)"; nothing where there is no row."""
    counts = ", ".join(f"{count} {split or 'without a split'}" for split, count in sorted(Counter(splits).items()))
    return f" ({counts})" if counts else ""


def labelled_sources(
    folder: Path | None,
    manifest: Path | None,
    mpp: float | None,
    classes: Sequence[str],
    split: str | None = None,
    slides_root: Path | None = None,
    group_by: str | None = None,
    na: str = "auto",
) -> tuple[list[Labelled], Rows]:
    """Return slides with labels out of `classes`: from a folder (see `class_folders`) or from a manifest.

    The slides of `split` are used; without it those of "test" if there are any, else all. If `split` is not a standard
    name, the splits of a manifest are compared as written. `group_by`: the column of the groups; all slides of a group
    must have one label. `na`: as of `read_manifest`. Labels are compared with the classes as `class_of` does. Raises
    AtsError with a sentence that names the row or the folder.
    """
    if (folder is None) == (manifest is None):
        raise AtsError("give either a folder with one subfolder a class, or --manifest with columns slide,label.")
    wanted = split_of(split)
    if manifest is not None:
        return _from_manifest(manifest, mpp, classes, wanted, slides_root, group_by, na)
    assert folder is not None
    if group_by:
        raise AtsError("--group-by names a column of a manifest. Leave it out, or give --manifest.")
    return _from_folder(folder, mpp, classes, wanted)


def each_labelled_once(labelled: list[Labelled], rows: Rows, threads: int = 4) -> tuple[list[Labelled], Rows]:
    """Return the slides without those that are the same file as another, see `each_once`.

    Raises AtsError for a file with two names that have two labels, splits or groups.
    """
    found = [
        Occurrence(own.source.slide_id, own.source.path, own.label, split, _own_group(own))
        for own, split in zip(labelled, rows.taken, strict=True)
    ]
    once = each_once(found, contents_of([own.source.path for own in labelled], threads), rows.notes)
    kept = [replace(labelled[number], group=group or labelled[number].group) for number, group in once.groups.items()]
    return kept, replace(rows, taken=tuple(rows.taken[number] for number in once.groups), notes=once.notes)


def evaluation_summary(labelled: Sequence[Labelled], rows: Rows, classes: Sequence[str], said: str = "") -> DataSummary:
    """Return what was understood of the slides of an evaluation. `said`: a sentence on which of them are taken."""
    found = [SummaryRow(part, [own.label], _own_group(own)) for own, part in zip(labelled, rows.taken, strict=True)]
    notes = rows.notes.without("of another part of the split", len(rows.left))
    return summarise(found, classes, replace(notes, notes=(*notes.notes, *filter(None, [said]))))


def _own_group(labelled: Labelled) -> str:
    return "" if labelled.group == labelled.source.slide_id else labelled.group


def _from_folder(folder: Path, mpp: float | None, classes: Sequence[str], split: str) -> tuple[list[Labelled], Rows]:
    found = class_folders(folder)
    parts = {slide.split: 0 for slide in found.slides if slide.split}
    if split and not parts:
        raise AtsError(f"{folder}: no folders for the parts of a split. Leave out --split, or give --manifest.")
    wanted = _split_to_take(folder, parts, split)
    taken = [slide for slide in found.slides if wanted in (None, slide.split)]
    left = tuple(slide.split for slide in found.slides if wanted not in (None, slide.split))
    written = [(slide.label, f"{folder}: folder {slide.label}") for slide in taken]
    class_of_label = _classes_of_labels(written, classes, "Rename the folder.")
    ids = slide_ids([slide.path for slide in taken])
    labelled = [
        Labelled(SlideSource(slide_id, slide.path, mpp), class_of_label[slide.label], slide_id)
        for slide_id, slide in zip(ids, taken, strict=True)
    ]
    notes = InputNotes(notes=found.notes).without("in no class folder", len(found.left_out))
    return labelled, Rows(tuple(slide.split for slide in taken), left, notes, "slides")


def _from_manifest(
    manifest: Path,
    mpp: float | None,
    classes: Sequence[str],
    split: str,
    slides_root: Path | None,
    group_by: str | None,
    na: str,
) -> tuple[list[Labelled], Rows]:
    table = read_manifest(manifest, slides_root, group_by, na, lambda found: _split_to_take(manifest, found, split))
    written: list[tuple[str, str]] = []
    for row in table.rows:
        if not row.label:
            raise AtsError(f"{manifest.name}: row {row.row} has no label. Fill in the column label.")
        written.append((row.label, f"{manifest.name}: row {row.row}"))
    class_of_label = _classes_of_labels(written, classes, "Correct the label.")
    ids = slide_ids([row.path for row in table.rows])
    labelled: list[Labelled] = []
    labels: dict[str, str] = {}
    for slide_id, group, row in zip(ids, table.groups(ids), table.rows, strict=True):
        label = class_of_label[row.label or ""]
        other = labels.setdefault(group, label) if group_by else label
        if other != label:
            raise AtsError(
                f"{manifest.name}: row {row.row}: {group} is {label} here and {other} before. With --group-by a group "
                "has one label: correct it, or leave out --group-by."
            )
        source = SlideSource(slide_id, row.path, row.mpp or mpp, roi=region_file(row.roi))
        labelled.append(Labelled(source, label, group))
    taken = tuple(row.split or "" for row in table.rows)
    return labelled, Rows(taken, table.left, InputNotes(table.missing))


def _split_to_take(manifest: Path, splits: Mapping[str, int], split: str) -> str | None:
    """Return the split whose slides are used: `split`, or if it is "" the test slides, or None for all.

    Raises AtsError for an unknown or empty split.
    `splits`: those of the manifest or the folder, each with its first row.
    """
    own_names = bool(split) and split not in SPLITS
    strange = next((name for name in splits if name not in SPLITS), None)
    if strange is not None and not own_names:
        raise AtsError(
            f"{manifest.name}: row {splits[strange]}: split {strange!r} is none of {', '.join(SPLITS)}. "
            "Correct it, or give --split with the name of the rows to take."
        )
    if split and split not in splits:
        what = "folder" if manifest.is_dir() else "row"
        raise AtsError(f"{manifest}: no {what} of split {split!r}. Its splits: {', '.join(sorted(splits)) or 'none'}.")
    return split or (TEST if TEST in splits else None)


def _classes_of_labels(written: Sequence[tuple[str, str]], classes: Sequence[str], advice: str) -> dict[str, str]:
    """Return the model's class of each label, and log the labels that are spelt differently.

    written: (label, where it is written).

    Raises AtsError for a label that is no class.
    """
    found: dict[str, str] = {}
    respelled: list[str] = []
    for label, where in written:
        if label in found:
            continue
        own = class_of(label, classes)
        if own is None:
            lower = {name.lower(): name for name in classes}
            near = difflib.get_close_matches(label.lower(), lower, 1)
            hint = f'Did you mean "{lower[near[0]]}"? ' if near else ""
            known = ", ".join(classes)
            raise AtsError(f'{where}: "{label}" is not a class of the model, which knows {known}. {hint}{advice}')
        found[label] = own
        if own != label:
            respelled.append(f"{where}: the label {label!a} is taken as the class {own} of the model")
    if respelled:
        more = f", and {len(respelled) - 1} more labels as others" if respelled[1:] else ""
        _log.warning(f"{respelled[0]}{more}.")
    return found


def at_budgets(
    budgets: Sequence[int | None],
    sampler: str,
    stops: bool,
    predict: Callable[[int | None], Iterator[Prediction]],
    max_unreadable: float = MAX_UNREADABLE,
) -> Iterator[tuple[int | None, Prediction]]:
    """Yield each slide's prediction at each budget, as (budget, prediction), in any order.

    `predict` yields all slides' predictions at one budget. With a nested sampler, smaller draws are the beginnings of
    the largest, so only the largest is read. Otherwise, or if the draw `stops` by itself, each budget is a separate
    draw.
    """
    sizes = [budget for budget in budgets if budget is not None]
    if sampler in SAMPLERS and SAMPLERS[sampler].nested and not stops and len(sizes) == len(budgets):
        for prediction in predict(max(sizes)):
            for size in sizes:
                yield size, truncate_to_budget(prediction, size, max_unreadable)
        return
    for budget in budgets:
        for prediction in predict(budget):
            yield budget, prediction
