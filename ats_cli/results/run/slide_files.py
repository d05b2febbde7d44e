"""The folder of one slide in a run: the files of all registered writers, the record last."""

from __future__ import annotations

from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.records import Prediction
from ats_cli.registry import WRITERS
from ats_cli.results.files import write_together
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


def write_slide(folder: Path, prediction: Prediction) -> None:
    """Write a slide's files. The record comes last: where there is one, the others are there too."""
    writers = [WRITERS[name] for name in WRITERS]
    files = {w.name: w.content(prediction) for w in writers if prediction.tile_arrays is not None or not w.needs_tiles}
    write_together({folder / name: files[name] for name in sorted(files, key=RECORD.__eq__)})


def copy_slide(source: Path, folder: Path) -> Prediction | None:
    """Copy a slide's files, the record last; return its prediction, or None if there is no valid record."""
    record = read_record(source)
    if record is not None:
        names = sorted((f.name for f in source.iterdir() if f.is_file() and f.name[0] != "."), key=RECORD.__eq__)
        write_together({folder / name: (source / name).read_bytes() for name in names})
    return record


def delete_slide(folder: Path, slides: Path) -> None:
    """Delete a slide's files, and the folders up to `slides` that are then empty. Other files stay."""
    for name in WRITERS:
        (folder / name).unlink(missing_ok=True)
    while folder != slides and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
