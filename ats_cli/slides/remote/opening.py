"""Open a URL: by byte ranges if its format supports them, else by download if the user allows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ats_cli.registry import FORMATS
from ats_cli.slides.formats.lookup import formats
from ats_cli.slides.options import OpenOptions
from ats_cli.slides.reader import Reader
from ats_cli.slides.remote.answer import WholeOnlyError
from ats_cli.slides.remote.download import download_slide
from ats_cli.slides.remote.path import RemotePath
from ats_cli.slides.remote.slide import RemoteSlide

LocalReader = Callable[[Path, OpenOptions], Reader]


def remote_reader(
    path: RemotePath, options: OpenOptions, local_reader: LocalReader
) -> tuple[Reader, Callable[[], None] | None]:
    """Return the reader of a URL and, if it was downloaded, a function that deletes the download.

    Raises SlideError; WholeOnlyError for a format that is read from local disks only, without `options.download`.
    """
    try:
        return _reader(path, options), None
    except WholeOnlyError:
        if not options.download:
            raise
    file, delete = download_slide(path)
    try:
        return local_reader(file, options), delete
    except BaseException:
        delete()
        raise


def _reader(path: RemotePath, options: OpenOptions) -> Reader:
    slide = RemoteSlide(path, forced=options.backend is not None)
    for item in [FORMATS[options.backend]] if options.backend else formats():
        reader = item.open_remote(slide, options.plane)
        if reader is not None:
            return reader
    raise slide.local_only()
