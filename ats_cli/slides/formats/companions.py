"""Slides of several files, as OpenSlide reads them: which files belong to a slide, also if its path is a link.

Workflow managers stage inputs as links in separate folders, so the other files lie beside the target of the link.
"""

from __future__ import annotations

from pathlib import Path

from ats_cli.errors import SlideError
from ats_cli.slides.formats.dicom.files import (
    files_beside,
    group_by_series,
    has_dicom_head,
    link_chain,
    series_of_file,
)

_MIRAX, _HAMAMATSU = ".mrxs", (".vms", ".vmu")


def with_companions(path: Path) -> Path:
    """Follow links from a path to the file that has the rest of its slide beside it; return the path if none has.

    Raises SlideError for a Mirax slide without its folder, since the file alone is a thumbnail.
    """
    kind, chain = path.suffix.lower(), link_chain(path)
    if kind == _MIRAX:
        for file in chain:
            if file.suffix == _MIRAX and file.with_suffix("").is_dir():
                return file
        if path.suffix != _MIRAX:
            raise SlideError("is read with its ending in small letters only. Rename it to .mrxs.")
        raise SlideError(f"its folder {chain[-1].stem} is not beside it. Copy the file and its folder.")
    if kind in _HAMAMATSU:
        return next((file for file in chain if len(_pictures(file)) > 1), chain[-1])
    if len(chain) > 1 and has_dicom_head(path) and (series := series_of_file(path)):
        return max(chain, key=lambda file: len(group_by_series(file.parent).get(series, [])))
    return path


def slide_files(path: Path) -> list[Path]:
    """Return the slide's file and the files that its format stores beside it."""
    try:
        if path.suffix.lower() == _MIRAX:
            return [path, *sorted(file for file in path.with_suffix("").iterdir() if file.is_file())]
        if path.suffix.lower() in _HAMAMATSU:
            return _pictures(path)
        if has_dicom_head(path) and (series := series_of_file(path)):
            return files_beside(path, series)
    except OSError:  # OpenSlide reports missing files
        pass
    return [path]


def _pictures(path: Path) -> list[Path]:
    """Return a Hamamatsu file and the pictures named after it: name.jpg, name(0,1).jpg, name_map2.jpg."""
    marks = tuple(path.stem + mark for mark in ".(_")
    return [path, *sorted(file for file in path.parent.iterdir() if file.name.startswith(marks) and file != path)]
