"""The fingerprint of a remote slide: the same content as of a local copy, with the server's version as its time."""

from __future__ import annotations

from ats_cli.records import Fingerprint
from ats_cli.slides.byte_source import ByteSource
from ats_cli.slides.identity.content_digest import SAMPLE, ZARR_METADATA, digest, samples, together
from ats_cli.slides.remote.answer import ObjectMissingError
from ats_cli.slides.remote.file import RemoteFile
from ats_cli.slides.remote.path import RemotePath

# A remote store cannot be listed, so only the metadata of the image and of its finest level are requested.
ZARR_PLACES = ("", "0/")


def remote_fingerprint(path: RemotePath, source: ByteSource | None = None) -> Fingerprint | None:
    """Return the fingerprint of an object; of a Zarr, by its metadata. Raises SlideError if it cannot be read.

    source: the object, if it is open. The bytes read count as its own.
    """
    if path.suffix.lower() != ".zarr":
        return together([_of_object(source if isinstance(source, RemoteFile) else RemoteFile(path, first=SAMPLE))])
    found = []
    for key in (place + name for place in ZARR_PLACES for name in ZARR_METADATA):
        try:
            found.append(_of_object(RemoteFile(path.child(key), first=SAMPLE)))
        except ObjectMissingError:
            continue
    return together(found)


def _of_object(source: RemoteFile) -> tuple[int, bytes, str]:
    """Return (size, content digest, version) of an object."""
    head, *rest = samples(source.size)
    known = source.head[: head[1]]
    with source.opened() as fetch:
        reads = fetch([(start, stop - start) for start, stop in [(len(known), head[1]), *rest]])
        beyond, *others = [read() for read in reads]
    return source.size, digest(known + beyond, *others), source.version or ""
