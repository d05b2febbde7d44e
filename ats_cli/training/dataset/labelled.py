"""Labelled slides, from a folder of classes or from a manifest."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ats_cli.errors import AtsError
from ats_cli.records import DEFAULT_TASK
from ats_cli.registry import TASKS
from ats_cli.slides import AnyPath, Slide, find_slides, open_slide, read_manifest
from ats_cli.slides.identity.fingerprint import fingerprint
from ats_cli.slides.inputs.discovery import slide_ids
from ats_cli.slides.inputs.manifest import ManifestRow
from ats_cli.slides.inputs.splits import SPLITS


@dataclass(frozen=True)
class LabelledSlide:
    """A slide to learn from. `split` is "train", "val" or "test" where a manifest says so, else "".

    `group`: what it shares with others (a patient), "" where nothing is known. `weight`: how much it counts. `roi`: the
    regions to draw from. `reading`: further keywords of `open_slide`. `content`: that of its fingerprint, if taken.
    """

    slide_id: str
    path: AnyPath
    label: str
    split: str = ""
    mpp: float | None = None
    group: str = ""
    weight: float = 1.0
    roi: Path | None = None
    reading: Mapping[str, Any] = field(default_factory=dict, hash=False)
    content: str = ""

    def open(self) -> Slide:
        """The slide, open. Raises SlideError where it cannot be."""
        return open_slide(self.path, mpp=self.mpp, **self.reading)


def with_content(slides: list[LabelledSlide], threads: int) -> list[LabelledSlide]:
    """The slides with the content of their fingerprints, by which one that is replaced is known."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = pool.map(fingerprint, [slide.path for slide in slides])
        return [replace(s, content=f.content if f else "") for s, f in zip(slides, found, strict=True)]


def labelled_slides(
    data: Path | None,
    manifest: Path | None,
    mpp: float | None = None,
    slides_root: Path | None = None,
    task: str = DEFAULT_TASK,
) -> list[LabelledSlide]:
    """Slides and labels from a folder with a subfolder a class, or from a manifest (see `read_manifest`).

    A manifest's relative paths lie in `slides_root`, without it beside the manifest. Raises AtsError with a sentence
    that names the row when there is nothing to learn or something is wrong: no slide, a file that is not there, no
    label, one class only, a label in another case, an empty class folder, a group in two splits.
    """
    if (data is None) == (manifest is None):
        raise AtsError("Give either a folder with one subfolder a class, or --manifest table.csv with slide,label.")
    if data is not None and not TASKS[task].single_label:
        raise AtsError(f"{data}: a folder of classes gives each slide one class. For {task}, give --manifest.")
    slides = _from_folder(data, mpp) if data is not None else _from_manifest(manifest, mpp, slides_root, task)  # type: ignore[arg-type]
    problem = TASKS[task].labels_problem([slide.label for slide in slides])
    if problem:
        raise AtsError(f"{data or manifest}: all {len(slides)} slides {problem}. Training needs two or more.")
    return slides


def _from_folder(data: Path, mpp: float | None) -> list[LabelledSlide]:
    if not data.is_dir():
        raise AtsError(f"{data}: not a folder. Training takes a folder with one subfolder a class, or --manifest.")
    classes = sorted(p for p in data.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise AtsError(f"{data}: no subfolders. Put each class's slides into a subfolder named after the class.")
    _refuse_cases([folder.name for folder in classes], [f"{data}: folder {folder.name}" for folder in classes])
    return [
        LabelledSlide(f"{folder.name}/{source.slide_id}", source.path, folder.name, mpp=source.mpp)
        for folder in classes
        for source in find_slides([str(folder)], mpp=mpp)
    ]


def _from_manifest(manifest: Path, mpp: float | None, root: Path | None, task: str) -> list[LabelledSlide]:
    rows = read_manifest(manifest, root)
    kind = TASKS[task]
    for row in rows:
        if row.label is None and not kind.label_optional:
            raise AtsError(
                f"{manifest}: row {row.row}: {row.path} has no label. Training needs a column label, filled everywhere."
            )
        if row.split not in (None, "", *SPLITS):
            raise AtsError(f"{manifest}: row {row.row}: split {row.split!r} is none of {', '.join(SPLITS)}.")
        if problem := kind.label_problem(row.label or ""):
            raise AtsError(f"{manifest}: row {row.row}: label {row.label!r} {problem}.")
        if not _there(row):
            raise AtsError(
                f"{manifest}: row {row.row}: no such file: {row.path}. Mend the path, or give --slides-root."
            )
        if row.roi is not None and not row.roi.exists():
            raise AtsError(f"{manifest}: row {row.row}: no such file: {row.roi}. Mend the column roi.")
    named = [(name, f"{manifest}: row {row.row}") for row in rows for name in kind.class_names(row.label or "")]
    _refuse_cases([name for name, _ in named], [where for _, where in named])
    _refuse_groups_apart(manifest, rows)
    ids = slide_ids([row.path for row in rows])
    return [
        LabelledSlide(
            slide_id,
            row.path,
            row.label or "",
            row.split or "",
            row.mpp or mpp,
            row.group or "",
            row.weight or 1.0,
            row.roi,
        )
        for slide_id, row in zip(ids, rows, strict=True)
    ]


def _refuse_cases(labels: Sequence[str], where: Sequence[str]) -> None:
    """Raise AtsError for labels that differ in case only, like "Tumour" and "tumour": they would be two classes."""
    first: dict[str, tuple[str, str]] = {}
    for label, place in zip(labels, where, strict=True):
        before, there = first.setdefault(label.casefold(), (label, place))
        if before != label:
            raise AtsError(f"{place} has label {label!r}, but {there} {before!r}. Write a class in one way only.")


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
