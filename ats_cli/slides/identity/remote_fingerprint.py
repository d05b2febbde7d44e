"""The fingerprint of a slide far away: the same content as of a copy on a disk, and the server's version of it."""

from __future__ import annotations

from ats_cli.records import Fingerprint
from ats_cli.slides.byte_source import ByteSource
from ats_cli.slides.identity.content_digest import SAMPLE, ZARR_METADATA, digest, samples, together
from ats_cli.slides.remote.answer import NotThereError
from ats_cli.slides.remote.file import RemoteFile
from ats_cli.slides.remote.path import RemotePath

# A store far away cannot be listed: the metadata of the image and of its finest level are asked for.
ZARR_PLACES = ("", "0/")


def remote_fingerprint(path: RemotePath, source: ByteSource | None = None) -> Fingerprint | None:
    """The fingerprint of an object, or of a Zarr by its metadata. Raises SlideError where it cannot be taken.

    `source`: the object, if it is open; what is read counts as read of it.
    """
    if path.suffix.lower() != ".zarr":
        return together([_of_object(source if isinstance(source, RemoteFile) else RemoteFile(path, first=SAMPLE))])
    found = []
    for key in (place + name for place in ZARR_PLACES for name in ZARR_METADATA):
        try:
            found.append(_of_object(RemoteFile(path.child(key), first=SAMPLE)))
        except NotThereError:
            continue
    return together(found)


def _of_object(source: RemoteFile) -> tuple[int, bytes, str]:
    """Size, content and version of an object."""
    head, *rest = samples(source.size)
    known = source.head[: head[1]]
    with source.opened() as fetch:
        reads = fetch([(start, stop - start) for start, stop in [(len(known), head[1]), *rest]])
        beyond, *others = [read() for read in reads]
    return source.size, digest(known + beyond, *others), source.version or ""
