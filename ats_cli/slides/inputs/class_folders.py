"""Slides in a folder with one subfolder a class, and perhaps with folders for the parts of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ats_cli.errors import SlideError
from ats_cli.slides.formats.lookup import extensions, is_slide_folder
from ats_cli.slides.inputs.discovery import NAMED, one_a_series, say_passed, slide_ids
from ats_cli.slides.inputs.folder_walk import FolderWalk
from ats_cli.slides.inputs.labels import plain
from ats_cli.slides.inputs.manifest import MISSING
from ats_cli.slides.inputs.splits import SPLITS, is_fold, split_of

_MANIFEST = "give --manifest with the columns slide, label and split"


@dataclass(frozen=True)
class FolderSlide:
    """A slide in the folder of its class. `split`: "train", "val" or "test"; "" where the folders have no parts.

    `slide_id`: the folders from the top down to that of the class, and the slide's id within it.
    """

    slide_id: str
    path: Path
    label: str
    split: str = ""


@dataclass(frozen=True)
class ClassFolders:
    """The slides of a folder. `left_out`: slides that are in no class. `notes`: sentences on what was understood."""

    slides: tuple[FolderSlide, ...]
    left_out: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def class_folders(top: Path) -> ClassFolders:
    """The slides below `top`, whose subfolders are classes.

    Folders called train, val and test (or by a synonym, in any case) are the parts of the split, if all folders at
    their level are called so: either above the class folders or within each of them. Raises SlideError with a sentence
    where the meaning of a folder is not certain, and where a class has no slide.
    """
    if not top.is_dir():
        raise SlideError(f"{top}: not a folder. Give a folder with one subfolder a class, or --manifest.")
    if is_slide_folder(top):
        raise SlideError(f"{top}: one slide, not a folder with one subfolder a class. Give the folder of its classes.")
    return _Search(top).found()


class _Search:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.passed: Counter[str] = Counter()
        self.left_out: list[Path] = []
        self.notes: list[str] = []

    def found(self) -> ClassFolders:
        folders = self._folders(self.top)
        if not folders:
            raise SlideError(
                f"{self.top}: no subfolders. Put each class's slides into a subfolder named after the class."
            )
        slides = list(self._in_parts(folders) if self._are_parts(self.top, folders) else self._in_classes(folders, ""))
        say_passed(self.passed)
        return ClassFolders(tuple(slides), tuple(self.left_out), (*self.notes, *self._notes(slides)))

    def _in_parts(self, parts: list[Path]) -> Iterator[FolderSlide]:
        """Parts of the split above class folders."""
        for part in parts:
            classes = self._folders(part)
            if not classes:
                raise SlideError(
                    f"{part}: a part of the split by its name, but without class folders, so the classes of its slides "
                    f"are not known. Put them into class folders, or {_MANIFEST}."
                )
            if self._are_parts(part, classes):
                raise SlideError(
                    f"{part}: its folders are parts of a split again, like {classes[0].name}. Rename them, or "
                    f"{_MANIFEST}."
                )
            yield from self._in_classes(classes, split_of(part.name))

    def _in_classes(self, classes: list[Path], split: str) -> Iterator[FolderSlide]:
        """Class folders; of those that are not within a part of the split, each may have folders for the parts."""
        inner = {own: FolderWalk().folders(own) for own in classes}
        with_parts = [own for own, (folders, _) in inner.items() if self._are_parts(own, folders)]
        if with_parts and (split or len(with_parts) < len(classes) or any(inner[own][1] for own in with_parts)):
            raise SlideError(
                f"{with_parts[0]}: holds parts of a split, like {inner[with_parts[0]][0][0].name}, but not all slides "
                f"of all classes are in one. Put each into a part, rename the folders, or {_MANIFEST}."
            )
        names = {tuple(folder.name for folder in folders) for folders, slides in inner.values() if not slides}
        if not with_parts and len(classes) > 1 and len(names) == 1 and len(inner_names := names.pop()) > 1:
            self.notes.append(
                f"{classes[0].parent}: {classes[0].name}, {classes[1].name} are taken for the classes. Each holds the "
                f"folders {', '.join(inner_names[:NAMED])}: if these are, give a folder of these alone, or --manifest."
            )
        for own in classes:
            for folder in inner[own][0] if with_parts else [own]:
                yield from self._slides(folder, own.name, split_of(folder.name) if with_parts else split)

    def _slides(self, folder: Path, label: str, split: str) -> Iterator[FolderSlide]:
        """All slides below the folder of a class."""
        walk = FolderWalk()
        paths = one_a_series(list(walk.slides(folder)))
        self.passed.update(walk.passed)
        if not paths:
            raise SlideError(f"{folder}: no slide in this folder. Looked for {', '.join(extensions())}.")
        names = folder.relative_to(self.top).as_posix()
        for slide_id, path in zip(slide_ids(paths), paths, strict=True):
            for between in path.relative_to(folder).parts[:-1]:
                if split_of(between) in SPLITS or is_fold(between):
                    raise SlideError(
                        f"{path}: in a folder {between}, below the class {label}: whether it is a part of a split is "
                        f"not certain. Rename the folder, or {_MANIFEST}."
                    )
            yield FolderSlide(f"{names}/{slide_id}", path, label, split)

    def _folders(self, folder: Path) -> list[Path]:
        """The folders in a folder of class folders; slides that lie beside them have no class."""
        walk = FolderWalk()
        folders, slides = walk.folders(folder)
        self.passed.update(walk.passed)
        whole = [path for path in slides if path.is_dir()]
        if whole:
            raise SlideError(
                f"{whole[0]}: this folder is one slide, so its name is no class. Put it into the folder of its class, "
                f"or {_MANIFEST}."
            )
        self.left_out += slides
        return folders

    def _are_parts(self, above: Path, folders: list[Path]) -> bool:
        """Whether folders are the parts of a split. Raises SlideError if some are and some are not, and for folds."""
        parts = [folder for folder in folders if split_of(folder.name) in SPLITS]
        others = [folder for folder in folders if folder not in parts]
        folds = [folder for folder in folders if is_fold(folder.name)]
        if folds:
            raise SlideError(
                f"{above}: holds folds, like {folds[0].name}, and training makes its own. Put the folders of the "
                "classes into one folder and give --folds, or give --manifest with the columns slide and label."
            )
        if parts and others:
            raise SlideError(
                f"{above}: {parts[0].name} is a part of a split by its name, but {others[0].name} beside it is none. "
                f"Give a folder of classes or one of parts, or {_MANIFEST}."
            )
        return bool(parts)

    def _notes(self, slides: list[FolderSlide]) -> Iterator[str]:
        parts = Counter(slide.split for slide in slides if slide.split)
        if parts:
            counts = ", ".join(f"{split} {parts[split]}" for split in SPLITS if parts[split])
            yield f"{self.top}: folders are taken for the parts of a split, not for classes: {counts} slides."
        for label in sorted({slide.label for slide in slides if plain(slide.label) in MISSING}):
            yield f"{self.top}: folder {label} is taken for a class. Remove it if its slides have no label."
        if self.left_out:
            named = ", ".join(path.name for path in self.left_out[:NAMED]) + ", ..." * (len(self.left_out) > NAMED)
            what = "slide is" if len(self.left_out) == 1 else "slides are"
            yield f"{self.top}: {len(self.left_out)} {what} in no class folder and left out: {named}."
