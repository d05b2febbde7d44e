"""Open a slide: find the reader by the file's content, and turn every error into one sentence."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from ats_cli.errors import SlideError, named_errors
from ats_cli.records import COLOR_PROFILES
from ats_cli.registry import FORMATS
from ats_cli.slides.formats.lookup import format_of
from ats_cli.slides.identity.file_state import (
    absent,
    file_states,
    refuse_closed,
    refuse_special,
    while_unchanged,
)
from ats_cli.slides.options import OpenOptions
from ats_cli.slides.pixels.color import in_srgb
from ats_cli.slides.plane import Plane
from ats_cli.slides.reader import Reader, unreadable
from ats_cli.slides.remote.path import AnyPath, RemotePath, slide_path
from ats_cli.slides.slide import Slide


def open_slide(
    path: str | os.PathLike[str] | RemotePath,
    mpp: float | None = None,
    backend: str | None = None,
    plane: Plane | None = None,
    color_profile: str = COLOR_PROFILES[0],
    download: bool = False,
) -> Slide:
    """Open a slide, a file or a URL, reading headers only.

    mpp: microns per pixel of level 0; None takes the file's own. For the other parameters see `OpenOptions`.
    Raises SlideError, whose message is one line that begins with the file's name; AtsError for an unknown option.
    """
    return open_with(path, OpenOptions(backend, plane, color_profile, download), mpp)


def open_with(
    path: str | os.PathLike[str] | RemotePath, options: OpenOptions | None = None, mpp: float | None = None
) -> Slide:
    """Open a slide with options that several slides share. Raises as `open_slide` does."""
    file = slide_path(path)
    with named_errors(file.name):
        return _open(file, options or OpenOptions(), mpp)


def _open(file: AnyPath, options: OpenOptions, mpp: float | None) -> Slide:
    delete = None
    try:
        if isinstance(file, RemotePath):
            from ats_cli.slides.remote.opening import remote_reader

            reader, delete = remote_reader(file, options, local_reader)
        else:
            refuse_special(file)
            refuse_closed(file)
            before = file_states([file] if file.is_file() else [])
            reader = while_unchanged(file, local_reader(file, options), before)
        slide = Slide(file, in_srgb(reader) if options.color_profile == "srgb" else reader, mpp)
    except BaseException as error:
        if delete is not None:
            delete()
        if isinstance(error, SlideError) or not isinstance(error, Exception):
            raise
        # Errors of libraries become one line. Of a URL the cause is dropped, since it may contain the whole URL.
        raise unreadable(file, error) from (None if isinstance(file, RemotePath) else error)
    # A process that is spawned opens the slide anew: its file handles and locks are of this one.
    slide.reopened_by = open_with, (file if isinstance(file, RemotePath) else file.absolute(), options, mpp)
    if delete is not None:
        slide.on_close = weakref.finalize(slide, delete)
    return slide


def local_reader(file: Path, options: OpenOptions) -> Reader:
    """Return the reader of a local file or folder. Raises SlideError if no format reads it."""
    head = _head(file)
    if options.backend is not None and head:
        return FORMATS[options.backend].open(file, options.plane)
    found = format_of(file, head)
    if found is None:
        raise SlideError("a folder, not a slide. Give a file in it.")
    if options.backend is not None:
        return FORMATS[options.backend].open(file, options.plane)
    return found.open_by_content(file, options.plane)


def _head(file: Path) -> bytes:
    """Return the first bytes of a file; b"" for a folder. Raises SlideError if the file is empty or cannot be read."""
    if file.is_dir():
        return b""
    try:
        with file.open("rb") as stream:
            head = stream.read(256)
    except FileNotFoundError:
        raise absent(file) from None
    except PermissionError:
        raise SlideError("no permission to read it. Check its access rights.") from None
    except OSError as error:
        raise unreadable(file, error) from error
    if not head:
        raise SlideError("the file is empty. Copy it again.")
    return head
