"""Whether a slide is the one that it was: what its files hold, by samples, and when they were written.

The content is the size and a hash of the head, the middle and the tail of each file. So it is the same of a copy and of
a link, near or far, and costs three small reads however large a slide is. What it cannot tell apart, files of one size
that differ between the samples, the time of writing does.
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

# Of the chunks of a Zarr, which may be 100,000 files: as many are read, evenly spaced; of the others the size counts.
CHUNKS = 16


def fingerprint(path: AnyPath, source: ByteSource | None = None) -> Fingerprint | None:
    """The fingerprint of a slide; None where it cannot be taken: no such file, no access, no regular file.

    `source`: of a slide far away, if it is open; what is read counts as read of it.
    """
    try:
        if isinstance(path, RemotePath):
            from ats_cli.slides.identity.remote_fingerprint import remote_fingerprint

            return remote_fingerprint(path, source)
        if is_zarr_folder(path):
            return _of_zarr(path)
        return together([_of_file(file) for file in _files(path)])
    except (OSError, ValueError, SlideError):
        return None


def fingerprint_of(slide: Slide) -> Fingerprint | None:
    """The fingerprint of an open slide."""
    return fingerprint(slide.path, getattr(slide._reader, "source", None))


def _of_file(file: Path) -> tuple[int, bytes, str]:
    """Size, content and time of writing. OSError for what is no regular file: a pipe would be waited for."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{file}: not a regular file")
    with file.open("rb", buffering=0) as stream:
        parts = []
        for start, stop in samples(found.st_size):
            stream.seek(start)
            parts.append(stream.read(stop - start))
    return found.st_size, digest(*parts), str(found.st_mtime_ns)


def _files(path: Path) -> list[Path]:
    """The files that a slide is made of."""
    if path.is_dir() or _is_dicom(path):
        from ats_cli.slides.formats.dicom.reader import series_files  # pydicom takes its time to import

        return [Path(str(source.path)) for source in series_files(path)]
    return [path, *(file for file in slide_files(with_companions(path))[1:] if file.is_file())]


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _of_zarr(folder: Path) -> Fingerprint:
    """Names, sizes and times of all files; the content of the metadata and of some chunks."""
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
