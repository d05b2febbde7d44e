"""Which slides there are, what they are, and which are kept for validation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ats_cli.records import AtsError
from ats_cli.slides import AnyPath, find_slides, read_manifest
from ats_cli.slides.find import slide_ids


@dataclass(frozen=True)
class LabelledSlide:
    """A slide to learn from. `split` is "train", "val" or "test" where a manifest says so, else "".

    `group`: what it shares with others (a patient), "" where nothing is known. `weight`: how much it counts.
    """

    slide_id: str
    path: AnyPath
    label: str
    split: str = ""
    mpp: float | None = None
    group: str = ""
    weight: float = 1.0


def labels_of(label: str) -> list[str]:
    """The labels of a slide that may have several: "a;b"."""
    return [name for part in label.split(";") if (name := part.strip())]


def labelled_slides(data: Path | None, manifest: Path | None, mpp: float | None = None) -> list[LabelledSlide]:
    """Slides and labels from a folder with a subfolder a class, or from a manifest `slide,label[,split,mpp]`.

    A manifest's relative paths lie beside it. Raises AtsError with a sentence when there is nothing to learn:
    no slide, no label, one class only, an empty class folder.
    """
    if (data is None) == (manifest is None):
        raise AtsError("Give either a folder with one subfolder a class, or --manifest table.csv with slide,label.")
    slides = _from_folder(data, mpp) if data is not None else _from_manifest(manifest, mpp)  # type: ignore[arg-type]
    labels = sorted({slide.label for slide in slides})
    if len(labels) < 2:
        raise AtsError(f"{data or manifest}: all slides are of one class ({labels[0]}). Training needs two or more.")
    return slides


def _from_folder(data: Path, mpp: float | None) -> list[LabelledSlide]:
    if not data.is_dir():
        raise AtsError(f"{data}: not a folder. Training takes a folder with one subfolder a class, or --manifest.")
    classes = sorted(p for p in data.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise AtsError(f"{data}: no subfolders. Put each class's slides into a subfolder named after the class.")
    return [
        LabelledSlide(f"{folder.name}/{source.slide_id}", source.path, folder.name, mpp=source.mpp)
        for folder in classes
        for source in find_slides([str(folder)], mpp=mpp)
    ]


def _from_manifest(manifest: Path, mpp: float | None) -> list[LabelledSlide]:
    rows = read_manifest(manifest)
    for row in rows:
        if not row.label:
            raise AtsError(f"{manifest}: {row.path} has no label. Training needs a column label, filled in every row.")
        if row.split not in (None, "", "train", "val", "test"):
            raise AtsError(f"{manifest}: split {row.split!r} of {row.path} is none of train, val, test.")
    ids = slide_ids([row.path for row in rows])
    return [
        LabelledSlide(slide_id, row.path, row.label or "", row.split or "", row.mpp or mpp)
        for slide_id, row in zip(ids, rows, strict=True)
    ]


def split_off(
    slides: list[LabelledSlide], fraction: float, seed: int
) -> tuple[list[LabelledSlide], list[LabelledSlide]]:
    """(train, validation). A manifest's own split is kept; else `fraction` of each class, at least one, is drawn.

    Raises AtsError when a class would have no slide to train on.
    """
    if not 0 <= fraction < 1:
        raise AtsError(f"--val {fraction}: not a fraction. Give a number from 0 to below 1, like --val 0.2.")
    train = [s for s in slides if s.split in ("", "train")]
    for label in sorted({s.label for s in slides} - {s.label for s in train}):
        raise AtsError(f"class {label} has no slide to train on: all are kept for validation or test. Add slides.")
    if any(s.split == "val" for s in slides):
        return train, [s for s in slides if s.split == "val"]
    if fraction == 0:
        return train, []
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for label in sorted({s.label for s in train}):
        members = [i for i, s in enumerate(train) if s.label == label]
        many = max(1, round(fraction * len(members)))
        if many >= len(members):
            raise AtsError(
                f"class {label} has {len(members)} slide(s): too few to keep some for validation. "
                "Add slides, or train with --val 0."
            )
        held.update(rng.choice(members, many, replace=False).tolist())
    return [s for i, s in enumerate(train) if i not in held], [s for i, s in enumerate(train) if i in held]
