"""Which reader a file gets, by its content, and one sentence for each file that gets none."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from ats_cli.records import BACKENDS, COLOR_PROFILES, SlideError
from ats_cli.slides.byte_source import LocalFile
from ats_cli.slides.color import in_srgb
from ats_cli.slides.dicom_files import is_dicom_folder
from ats_cli.slides.file_state import absent, file_states, refuse_closed, refuse_special, while_unchanged
from ats_cli.slides.image_reader import ImageReader
from ats_cli.slides.openslide_reader import OpenSlideReader, detect_vendor
from ats_cli.slides.plane import Plane, only_one
from ats_cli.slides.reader import Reader, unreadable
from ats_cli.slides.remote_path import RemotePath, slide_path
from ats_cli.slides.slide import Slide
from ats_cli.slides.tiff_reader import TiffReader, read_index
from ats_cli.slides.tiff_walk import refuse_many_directories

_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CONVERT = "Convert it to a tiled TIFF or an OME-TIFF."


def open_slide(
    path: str | os.PathLike[str] | RemotePath,
    mpp: float | None = None,
    backend: str | None = None,
    plane: Plane | None = None,
    color_profile: str = "none",
    download: bool = False,
) -> Slide:
    """Open a slide, a file or a URL; headers only are read.

    `mpp`: microns per pixel of level 0, believed over the file. `backend`: one of `records.BACKENDS`, instead of the
    reader that the file's content asks for. `plane`: which one of a file with several.
    `color_profile`: "srgb" applies a profile that the file embeds; "none" shows the values as they are stored.
    `download`: of a URL, what must be on a local disk is fetched there, until the slide is closed.
    Raises SlideError, one line that begins with the name.
    """
    file = slide_path(path)
    if backend is not None and backend not in BACKENDS:
        raise SlideError(f"{file.name}: no reader is called {backend}. Choose one of {', '.join(BACKENDS)}.")
    if color_profile not in COLOR_PROFILES:
        raise SlideError(f"{file.name}: no colour profile is called {color_profile}. Choose none or srgb.")
    delete = None
    try:
        if isinstance(file, RemotePath):
            from ats_cli.slides.remote_opening import remote_reader

            reader, delete = remote_reader(file, backend, plane, local_reader if download else None)
        else:
            refuse_special(file)
            refuse_closed(file)
            before = file_states([file] if file.is_file() else [])
            reader = while_unchanged(file.name, local_reader(file, backend, plane), before)
        slide = Slide(file, in_srgb(file.name, reader) if color_profile == "srgb" else reader, mpp)
    except BaseException as error:
        if delete is not None:
            delete()
        if isinstance(error, SlideError) or not isinstance(error, Exception):
            raise
        # Whatever a library raises, the user gets one line.
        # What led to it may show all of a URL.
        raise unreadable(file, error) from (None if isinstance(file, RemotePath) else error)
    if delete is not None:
        slide.on_close = weakref.finalize(slide, delete)
    return slide


def local_reader(file: Path, backend: str | None, plane: Plane | None) -> Reader:
    """The reader of a file on a disk. Raises SlideError where there is none."""
    head = b"" if is_slide_folder(file) else _head(file)
    return _forced(file, backend, head, plane) if backend else _by_content(file, head, plane)


def _head(file: Path) -> bytes:
    """The file's first bytes, or the SlideError that says why there are none."""
    if file.is_dir():
        raise SlideError(f"{file.name}: a folder, not a slide. Give a file in it.")
    try:
        with file.open("rb") as stream:
            head = stream.read(256)
    except FileNotFoundError:
        raise absent(file) from None
    except PermissionError:
        raise SlideError(f"{file.name}: no permission to read it. Check its access rights.") from None
    except OSError as error:
        raise unreadable(file, error) from error
    if not head:
        raise SlideError(f"{file.name}: the file is empty. Copy it again.")
    return head


def is_slide_folder(folder: Path) -> bool:
    return is_zarr_folder(folder) or is_dicom_folder(folder)


def is_zarr_folder(folder: Path) -> bool:
    metadata = (".zgroup", ".zarray", "zarr.json")
    return folder.is_dir() and (folder.suffix == ".zarr" or any((folder / name).is_file() for name in metadata))


def _forced(file: Path, backend: str, head: bytes, plane: Plane | None) -> Reader:
    if backend == "openslide":
        return _openslide(file, plane)
    if backend == "tiff":
        return _tiff(file, plane)
    if backend == "zarr":
        return _zarr(file, plane)
    if backend == "dicom":
        return _dicom(file, plane)
    return _plain_image(file, head, plane)


def _openslide(file: Path, plane: Plane | None) -> Reader:
    only_one(file.name, plane)
    return OpenSlideReader(file)


def _tiff(file: Path, plane: Plane | None) -> Reader:
    source = LocalFile(file)
    return TiffReader(source, read_index(source, plane))


def _plain_image(file: Path, head: bytes, plane: Plane | None) -> Reader:
    if not head.startswith(_TIFF_HEADS):
        only_one(file.name, plane)
        return ImageReader(file)
    # Pillow would show the first of many planes, or the high byte of 16 bits: the index knows.
    index = read_index(LocalFile(file), plane)
    if not index.by_pillow:
        raise SlideError(f"{file.name}: not an image that is decoded whole. Leave out --backend.")
    return ImageReader(file, index.facts.mpp, index.facts.mpp_source)


def _zarr(file: Path, plane: Plane | None) -> Reader:
    from ats_cli.slides.zarr_reader import ZarrReader  # zarr takes its time to import

    return ZarrReader(file, plane)


def _dicom(file: Path, plane: Plane | None) -> Reader:
    from ats_cli.slides.dicom_reader import DicomReader  # as does pydicom

    return DicomReader(file, plane)


def _by_content(file: Path, head: bytes, plane: Plane | None) -> Reader:
    if head.startswith(b"PK") or is_zarr_folder(file):
        return _zarr(file, plane)
    if head[128:132] == b"DICM" or file.is_dir():
        return _dicom(file, plane)
    if head.startswith(_TIFF_HEADS):
        with LocalFile(file).headers() as stream:
            refuse_many_directories(file.name, stream)  # before any library reads them all
    vendor = detect_vendor(file)
    if vendor == "aperio":
        return _aperio(file, plane)
    if vendor not in (None, "generic-tiff"):
        return _openslide(file, plane)
    if not head.startswith(_TIFF_HEADS):
        return _plain_image(file, head, plane)
    source = LocalFile(file)
    index = read_index(source, plane)
    if index.whole is None:
        return TiffReader(source, index)
    return ImageReader(file, index.facts.mpp, index.facts.mpp_source)


def _aperio(file: Path, plane: Plane | None) -> Reader:
    """Aperio's tiled TIFF, by its own tiles: the same pixels as OpenSlide's on level 0 and several times as fast.

    On lower levels OpenSlide divides by the ratio of the levels' sizes (2.0005 for 2) and blurs by the fraction
    of a pixel that is left. What the TIFF reader does not know for certain goes to OpenSlide. A damaged index does
    not: OpenSlide shows white in the place of what is not in it.
    """
    try:
        return _tiff(file, plane)
    except SlideError as error:
        damaged = error.__cause__ is not None
        if damaged or plane is not None:
            raise
        return OpenSlideReader(file)
