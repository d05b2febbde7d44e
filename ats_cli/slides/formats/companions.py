"""Slides of several files, as OpenSlide reads them: which files belong to one, and where they lie if it is a link.

A workflow stages its inputs as links, each in a folder of its own, so what a slide is made of lies beside the file that
the link leads to.
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
    """The file that a path leads to, link by link, that has the rest of its slide beside it; else the path itself.

    Raises SlideError for a Mirax slide without its folder: the file alone is a small picture of it.
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
    """The slide's file, and those that its format keeps beside it."""
    try:
        if path.suffix.lower() == _MIRAX:
            return [path, *sorted(file for file in path.with_suffix("").iterdir() if file.is_file())]
        if path.suffix.lower() in _HAMAMATSU:
            return _pictures(path)
        if has_dicom_head(path) and (series := series_of_file(path)):
            return files_beside(path, series)
    except OSError:  # without them OpenSlide says what is the matter
        pass
    return [path]


def _pictures(path: Path) -> list[Path]:
    """A file of Hamamatsu's and the pictures that are called after it: name.jpg, name(0,1).jpg, name_map2.jpg."""
    marks = tuple(path.stem + mark for mark in ".(_")
    return [path, *sorted(file for file in path.parent.iterdir() if file.name.startswith(marks) and file != path)]
