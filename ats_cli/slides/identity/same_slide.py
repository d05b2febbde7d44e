"""Which of several paths are one slide: links, hard links and copies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ats_cli.errors import SlideError
from ats_cli.slides.formats.zarr.format import is_zarr_folder
from ats_cli.slides.identity.content_digest import digest
from ats_cli.slides.identity.fingerprint import fingerprint, slide_files_of
from ats_cli.slides.remote.path import AnyPath


@dataclass(frozen=True)
class SameSlides:
    """Numbers of paths, the first of each tuple before the others.

    same: paths of one slide. alike: paths with the same samples, one of them remote, so that they were not compared
    whole.
    """

    same: tuple[tuple[int, ...], ...] = ()
    alike: tuple[tuple[int, ...], ...] = ()


def contents_of(paths: Sequence[AnyPath], threads: int) -> list[str]:
    """Return the content of each path's fingerprint, "" if it cannot be read."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        return [found.content if found else "" for found in pool.map(fingerprint, paths)]


def same_slides(paths: Sequence[AnyPath], contents: Sequence[str]) -> SameSlides:
    """Return which paths are one slide. `contents`: as of `contents_of`.

    Local slides with the same samples are compared whole: slides of repeated tiles agree in head, middle and tail.
    """
    by_content: dict[str, list[int]] = {}
    for number, content in enumerate(contents):
        if content and not content.startswith("0-"):  # an empty file is no slide
            by_content.setdefault(content, []).append(number)
    same: list[tuple[int, ...]] = []
    alike: list[tuple[int, ...]] = []
    for numbers in by_content.values():
        local = [number for number in numbers if isinstance(paths[number], Path)]
        if len(local) < len(numbers) > 1:
            alike.append(tuple(numbers))
        if len(local) > 1:
            whole: dict[object, list[int]] = {}
            for number, key in zip(local, _whole_keys([Path(str(paths[n])) for n in local]), strict=True):
                whole.setdefault(key, []).append(number)
            same += [tuple(own) for own in whole.values() if len(own) > 1]
    return SameSlides(tuple(same), tuple(alike))


def _whole_keys(paths: Sequence[Path]) -> list[object]:
    """Return a key of each path, equal for equal content. Nothing is read if all paths lead to one file."""
    places = [_place(path) for path in paths]
    if len(set(places)) == 1:
        return [*places]
    known = {place: _whole_digest(path) for place, path in dict(zip(places, paths, strict=True)).items()}
    return [known[place] or place for place in places]


def _place(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _whole_digest(path: Path) -> bytes | None:
    """Return a hash of all bytes of all files of a slide; None if they cannot be read."""
    try:
        if is_zarr_folder(path):
            files = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
            return digest(*(part for f in files for part in (os.fsencode(f.relative_to(path)), _file_digest(f))))
        return digest(*sorted(_file_digest(file) for file in slide_files_of(path)))
    except (OSError, ValueError, SlideError):
        return None


def _file_digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").digest()
