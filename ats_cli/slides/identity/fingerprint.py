"""The fingerprint of a slide: its content, from samples of its files, and their modification times.

The content is the size and a hash of the head, the middle and the tail of each file. It is the same for copies and
links, local or remote, and costs three small reads for a slide of any size. Files of one size that differ only between
the samples are told apart by their modification times.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ats_cli.errors import SlideError
from ats_cli.records import Fingerprint
from ats_cli.slides.byte_source import ByteSource
from ats_cli.slides.formats.companions import slide_files, with_companions
from ats_cli.slides.formats.zarr.format import is_zarr_folder
from ats_cli.slides.identity.content_digest import ZARR_METADATA, digest, samples, together
from ats_cli.slides.remote.path import AnyPath, RemotePath
from ats_cli.slides.slide import Slide

# A Zarr may have 100,000 chunk files: this many are sampled, evenly spaced; of the others only the size counts.
CHUNKS = 16


def fingerprint(path: AnyPath, source: ByteSource | None = None) -> Fingerprint | None:
    """Return the fingerprint of a slide; None if there is no regular file that can be read.

    source: the open source of a remote slide. The bytes read count as its own.
    """
    try:
        if isinstance(path, RemotePath):
            from ats_cli.slides.identity.remote_fingerprint import remote_fingerprint

            return remote_fingerprint(path, source)
        if is_zarr_folder(path):
            return _of_zarr(path)
        return together([_of_file(file) for file in slide_files_of(path)])
    except (OSError, ValueError, SlideError):
        return None


def fingerprint_of(slide: Slide) -> Fingerprint | None:
    """Return the fingerprint of an open slide."""
    return fingerprint(slide.path, getattr(slide._reader, "source", None))


def _of_file(file: Path) -> tuple[int, bytes, str]:
    """Return (size, content digest, modification time). Raises OSError for a pipe or the like, which could block."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{file}: not a regular file")
    with file.open("rb", buffering=0) as stream:
        parts = []
        for start, stop in samples(found.st_size):
            stream.seek(start)
            parts.append(stream.read(stop - start))
    return found.st_size, digest(*parts), str(found.st_mtime_ns)


def slide_files_of(path: Path) -> list[Path]:
    """Return the files of a slide."""
    if path.is_dir() or _is_dicom(path):
        from ats_cli.slides.formats.dicom.reader import series_files  # imports pydicom, which is slow

        return [Path(str(source.path)) for source in series_files(path)]
    return [path, *(file for file in slide_files(with_companions(path))[1:] if file.is_file())]


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _of_zarr(folder: Path) -> Fingerprint:
    """Return the fingerprint from names, sizes and times of all files, and the content of metadata and some chunks."""
    found: dict[str, os.stat_result] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            found[file.relative_to(folder).as_posix()] = file.stat()
    names = sorted(found)
    chunks = [name for name in names if name.rpartition("/")[2] not in ZARR_METADATA]
    sampled = {chunks[i * len(chunks) // CHUNKS] for i in range(CHUNKS)} if chunks else set()
    sampled |= set(names) - set(chunks)
    size = sum(one.st_size for one in found.values())
    content = digest(*(f"{name} {found[name].st_size}".encode("utf-8", "surrogateescape") for name in names))
    content = digest(content, *(_of_file(folder / name)[1] for name in names if name in sampled))
    times = digest(*(str(found[name].st_mtime_ns).encode() for name in names))
    return Fingerprint(f"{size}-{content.hex()}", times.hex())
