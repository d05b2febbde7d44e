"""The folder of one slide in a run: the files of registered writers, the record last."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.records import Need, Prediction
from ats_cli.registry import WRITERS
from ats_cli.results.files import delete, write_together
from ats_cli.results.writer import Writer
from ats_cli.results.writers.prediction_json import RECORD, read_record


def slide_folder(slides: Path, slide_id: str) -> Path:
    """Return the folder of a slide below `slides`; an id with "/" is a folder in a folder.

    AtsError for an id that would lead elsewhere, or to where a file of another slide belongs.
    """
    names = slide_id.split("/")
    folder = slides.joinpath(*names)
    # On Windows a name may be a path itself; where it leads away, what is below `slides` is not what was asked for.
    below = folder.relative_to(slides).parts if folder.is_relative_to(slides) else ()
    if below != tuple(names) or any(name in ("..", *WRITERS) for name in names):
        raise AtsError(f"slide id {slide_id!r} cannot name a folder inside the run. Rename the slide's file.")
    return folder


def optional_writers(options: Collection[str]) -> list[Writer]:
    """Return the writers that one of the options asks for. AtsError, naming all, for an option that no writer has."""
    writers = [WRITERS[name] for name in WRITERS]
    known = [writer.option for writer in writers if writer.option]
    for option in options:
        if option not in known:
            raise AtsError(f"no output is called {option!r}. Choose from {', '.join(dict.fromkeys(known))}.")
    return [writer for writer in writers if writer.option in options]


def missing_outputs(folder: Path, options: Collection[str]) -> list[Writer]:
    """Return the writers that the options ask for and whose output the slide does not have."""
    return [writer for writer in optional_writers(options) if not (folder / writer.name).exists()]


def write_slide(folder: Path, prediction: Prediction) -> None:
    """Write the files that every slide of a run has. The record comes last: if it is there, the others are too.

    Optional outputs of an earlier prediction are deleted.
    """
    always = [WRITERS[name] for name in WRITERS if not WRITERS[name].option]
    _write(folder, prediction, sorted(always, key=lambda writer: writer.name == RECORD))
    for name in WRITERS:
        if WRITERS[name].option:
            delete(folder / name)


def add_outputs(folder: Path, prediction: Prediction, options: Collection[str]) -> None:
    """Write the outputs that the options ask for and that the slide does not have yet."""
    _write(folder, prediction, missing_outputs(folder, options))


def _write(folder: Path, prediction: Prediction, writers: list[Writer]) -> None:
    available = _available(prediction)
    chosen = [writer for writer in writers if available.issuperset(writer.needs)]
    write_together({folder / writer.name: partial(writer.write, prediction=prediction) for writer in chosen})


def _available(prediction: Prediction) -> set[Need]:
    """Return what writers can be given of a slide."""
    pixels, available = prediction.pixels, set[Need]()
    if prediction.tile_arrays is not None:
        available.add("tiles")
    if pixels is not None:
        fields: dict[Need, object] = {
            "attention": pixels.attention, "view": pixels.view, "patches": pixels.patches,
            "features": pixels.features,
        }  # fmt: skip
        available |= {need for need, value in fields.items() if value is not None}
    return available


def copy_slide(source: Path, folder: Path) -> Prediction | None:
    """Copy a slide's files, the record last; return its prediction, or None if there is no valid record."""
    record = read_record(source)
    if record is not None:
        files = [file for file in source.iterdir() if file.name[0] != "." and (file.is_file() or file.name in WRITERS)]
        files.sort(key=lambda file: file.name == RECORD)
        write_together({folder / file.name: partial(_copy, file) for file in files})
    return record


def _copy(source: Path, path: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, path)
    else:
        shutil.copyfile(source, path)


def delete_slide(folder: Path, slides: Path) -> None:
    """Delete a slide's files, and the folders up to `slides` that are then empty. Other files stay."""
    for name in WRITERS:
        delete(folder / name)
    while folder != slides and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def without_tiles(prediction: Prediction) -> Prediction:
    """Return a prediction without its large arrays."""
    comparison = replace(prediction.comparison, embedding=None)
    return replace(prediction, tile_arrays=None, pixels=None, drawn=(), comparison=comparison)
