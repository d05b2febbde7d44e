"""Labelled slides, from a folder of classes or from a manifest."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.records import DEFAULT_TASK
from ats_cli.registry import TASKS
from ats_cli.slides import AnyPath, OpenOptions, RegionOptions, Slide, open_with, read_manifest
from ats_cli.slides.identity.same_slide import contents_of
from ats_cli.slides.inputs.class_folders import class_folders
from ats_cli.slides.inputs.data_summary import InputNotes
from ats_cli.slides.inputs.discovery import NAMED, slide_ids
from ats_cli.slides.inputs.duplicates import Occurrence, each_once
from ats_cli.slides.inputs.folder_walk import FolderWalk
from ats_cli.slides.inputs.labels import plain, spellings
from ats_cli.slides.inputs.manifest import MISSING, ManifestRow
from ats_cli.slides.inputs.splits import SPLITS

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledSlide:
    """A slide to learn from. `split`: "train", "val" or "test", or "" if neither a manifest nor a folder says it.

    `group`: the patient or the like that it shares with other slides, or "". `weight`: how much it counts. `roi`: the
    regions to draw from. `opening`: how it is opened. `content`: that of its fingerprint, "" if it is not taken.
    `region_options`: how `roi` is read.
    """

    slide_id: str
    path: AnyPath
    label: str
    split: str = ""
    mpp: float | None = None
    group: str = ""
    weight: float = 1.0
    roi: Path | None = None
    opening: OpenOptions = OpenOptions()
    content: str = ""
    region_options: RegionOptions = RegionOptions()

    def open(self) -> Slide:
        """The slide, open. Raises SlideError if it cannot be opened."""
        return open_with(self.path, self.opening, self.mpp)


@dataclass(frozen=True)
class LabelledData:
    """Labelled slides, and what else their table or folder holds."""

    slides: list[LabelledSlide]
    notes: InputNotes = field(default_factory=InputNotes)


def each_slide_once(data: LabelledData, threads: int) -> LabelledData:
    """The slides, each once and with the content of its fingerprint, which shows whether a slide was replaced.

    Raises AtsError for a file with two names that have two labels, splits or groups.
    """
    found = [Occurrence(s.slide_id, s.path, s.label, s.split, s.group) for s in data.slides]
    contents = contents_of([slide.path for slide in data.slides], threads)
    once = each_once(found, contents, data.notes)
    slides = [replace(data.slides[i], group=group, content=contents[i]) for i, group in once.groups.items()]
    return LabelledData(slides, once.notes)


def labelled_slides(
    data: Path | None,
    manifest: Path | None,
    mpp: float | None = None,
    slides_root: Path | None = None,
    task: str = DEFAULT_TASK,
    opening: OpenOptions = OpenOptions(),
    na: str = "auto",
) -> list[LabelledSlide]:
    """The slides of `labelled_data`."""
    return labelled_data(data, manifest, mpp, slides_root, task, opening, na).slides


def labelled_data(
    data: Path | None,
    manifest: Path | None,
    mpp: float | None = None,
    slides_root: Path | None = None,
    task: str = DEFAULT_TASK,
    opening: OpenOptions = OpenOptions(),
    na: str = "auto",
) -> LabelledData:
    """Slides and labels from a folder (see `class_folders`) or from a manifest (see `read_manifest`).

    A manifest's relative paths are in `slides_root`, without it beside the manifest. Labels that differ in nothing that
    can be seen, or only as numbers, are one class, which is logged. Raises AtsError with a sentence that names the row
    or the folder if nothing can be learned or something is wrong: no slide, a file that is absent, no label, one class
    only, a label in another case, an empty class folder, a group in two splits.
    """
    if (data is None) == (manifest is None):
        raise AtsError("Give either a folder with one subfolder a class, or --manifest table.csv with slide,label.")
    if data is not None and not TASKS[task].single_label:
        raise AtsError(f"{data}: a folder of classes gives each slide one class. For {task}, give --manifest.")
    found = _from_folder(data, mpp) if data is not None else _from_manifest(manifest, mpp, slides_root, task, na)  # type: ignore[arg-type]
    problem = TASKS[task].labels_problem([slide.label for slide in found.slides])
    if problem:
        raise AtsError(
            f"{data or manifest}: all {len(found.slides)} slides {problem}. Training needs two or more.{_hint(data)}"
        )
    return replace(found, slides=[replace(slide, opening=opening) for slide in found.slides])


def _hint(data: Path | None) -> str:
    """A sentence if the only class folder holds folders that may be the classes."""
    outer = FolderWalk().folders(data)[0] if data else []
    inner = FolderWalk().folders(outer[0])[0] if len(outer) == 1 else []
    if len(inner) < 2:
        return ""
    names = ", ".join(folder.name for folder in inner[:NAMED])
    return f" If the folders in it ({names}) are the classes, give {outer[0]}."


def _from_folder(data: Path, mpp: float | None) -> LabelledData:
    found = class_folders(data)
    names = _one_spelling(((slide.label, f"folder {slide.label}") for slide in found.slides), data)
    slides = [LabelledSlide(slide.slide_id, slide.path, names[slide.label], slide.split, mpp) for slide in found.slides]
    notes = InputNotes(notes=found.notes).without("in no class folder", len(found.left_out))
    return LabelledData(slides, notes)


def _from_manifest(manifest: Path, mpp: float | None, root: Path | None, task: str, na: str) -> LabelledData:
    table = read_manifest(manifest, root, na=na)
    rows = table.rows
    kind = TASKS[task]
    for row in rows:
        if row.label is None and not kind.label_optional:
            raise AtsError(
                f"{manifest}: row {row.row}: {row.path} has no label. Training needs a column label, filled everywhere."
            )
        if row.split not in (None, "", *SPLITS):
            known = ", ".join(SPLITS)
            raise AtsError(f"{manifest}: row {row.row}: split {row.split!r} is none of {known}. Write one of these.")
        if problem := kind.label_problem(plain(row.label or "")):
            raise AtsError(f"{manifest}: row {row.row}: label {row.label!r} {problem}.")
        if na != "none" and any(plain(name) in MISSING for name in kind.class_names(row.label or "")):
            raise AtsError(f"{manifest}: row {row.row}: label {row.label!r} has a missing part. Remove it.")
        if not _there(row):
            raise AtsError(f"{manifest}: row {row.row}: no such file: {row.path}. Fix the path, or give --slides-root.")
        if row.roi is not None and not row.roi.exists():
            raise AtsError(f"{manifest}: row {row.row}: no such file: {row.roi}. Fix the column roi.")
    written = ((name, f"row {row.row}") for row in rows for name in kind.class_names(row.label or ""))
    names = _one_spelling(written, manifest)
    _refuse_groups_apart(manifest, rows)
    ids = slide_ids([row.path for row in rows])
    slides = [
        LabelledSlide(
            slide_id,
            row.path,
            ";".join(names[name] for name in kind.class_names(row.label or "")) or plain(row.label or ""),
            row.split or "",
            row.mpp or mpp,
            row.group or "",
            row.weight or 1.0,
            row.roi,
        )
        for slide_id, row in zip(ids, rows, strict=True)
    ]
    if weights := {row.weight for row in rows if row.weight is not None}:
        low, high = min(weights), max(weights)
        _log.warning(f"{manifest}: slides count as much as their weight in the table says, from {low:g} to {high:g}.")
    return LabelledData(slides, InputNotes(table.missing))


def _one_spelling(written: Iterable[tuple[str, str]], source: Path) -> Mapping[str, str]:
    """The name of the class that each label is, see `spellings`; what is one class is logged."""
    found = spellings(written, "label", str(source))
    if sentence := found.sentence():
        _log.warning(f"{source}: {sentence}")
    return found.names


def _refuse_groups_apart(manifest: Path, rows: Sequence[ManifestRow]) -> None:
    """Raise AtsError for a group in two splits: figures on patients of the training set are too good."""
    first: dict[str, ManifestRow] = {}
    for row in rows:
        if row.group:
            before = first.setdefault(row.group, row)
            if (before.split or "") != (row.split or ""):
                raise AtsError(
                    f"{manifest}: row {row.row}: group {row.group} is in split {row.split or 'none'!r}, but in row "
                    f"{before.row} in {before.split or 'none'!r}. Keep all slides of a patient on one side."
                )


def _there(row: ManifestRow) -> bool:
    # Only paths on a local disk are checked.
    return not isinstance(row.path, Path) or row.path.exists()
