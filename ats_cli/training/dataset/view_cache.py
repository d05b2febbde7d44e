"""Views, and what is computed from them, cached on disk: a zarr group of arrays. It may be deleted at any time."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ats_cli.records import Fingerprint
from ats_cli.slides import AnyPath, RemotePath
from ats_cli.slides.identity.fingerprint import fingerprint
from ats_cli.training.dataset.labelled import LabelledSlide

CHUNK_ROWS = 1024
VERSION = 3  # of the pixels of a view: raise it when reading changes, so that older caches are not used


class ViewCache:
    """Arrays by slide and scale, up to `max_bytes` before compression: views (rows, cols, 3) uint8 and, by a `kind`,
    16-bit numbers that a frozen network computed.

    An array is written to a temporary folder and renamed, so that an existing one is complete. A slide whose files
    have changed counts as another slide; the fingerprint of a remote slide is taken once. A view that cannot be read
    from or written to the cache is read from the slide.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.lock, self.bytes_used = Lock(), 0
        self._remote: dict[AnyPath, Fingerprint | None] = {}
        with suppress(OSError):
            import zarr

            zarr.open_group(folder, mode="a")
            for array in folder.glob("*/zarr.json"):
                self.bytes_used += _nbytes(array.parent)

    def get(self, slide: LabelledSlide, downsample: float, kind: str = "") -> NDArray[Any] | None:
        """The array of a slide, or None if it is not cached. `kind`: what it is, "" for the view."""
        import zarr

        key = self._key(slide, downsample, kind)
        if key is None or not (folder := self.folder / key).is_dir():
            return None
        try:
            array: Any = zarr.open_array(folder, mode="r")
            values = np.asarray(array[:])
            # zarr reads a missing chunk as black. All chunks were written, the black ones too.
            return values if array.nchunks_initialized == array.nchunks else None
        except (OSError, ValueError, RuntimeError):
            return None

    def put(self, slide: LabelledSlide, downsample: float, values: NDArray[Any], kind: str = "") -> None:
        """Cache an array, unless `max_bytes` would be exceeded."""
        import zarr

        key = self._key(slide, downsample, kind)
        if key is None:
            return
        with self.lock:
            if self.bytes_used + values.nbytes > self.max_bytes:
                return
            self.bytes_used += values.nbytes
        folder = self.folder / key
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        try:
            # Views shrink to a third; the numbers of a network hardly, and they are read in each step.
            chunks = values.shape if kind else (min(CHUNK_ROWS, values.shape[0]), *values.shape[1:])
            array: Any = zarr.create_array(
                part,
                shape=values.shape,
                chunks=chunks,
                dtype=values.dtype,
                compressors=None if kind else "auto",
                config={"write_empty_chunks": True},
            )
            array[:] = values
            part.rename(folder)
        except (OSError, ValueError):
            shutil.rmtree(part, ignore_errors=True)

    def delete(self) -> None:
        """Delete the cache."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _key(self, slide: LabelledSlide, downsample: float, kind: str) -> str | None:
        """A hash of the slide's current files, its options, scale and kind; None if the files cannot be read."""
        if isinstance(slide.path, RemotePath):
            if slide.path not in self._remote:
                self._remote[slide.path] = fingerprint(slide.path)
            found = self._remote[slide.path]
        else:
            found = fingerprint(slide.path)
        facts = (VERSION, str(slide.path), slide.mpp, slide.opening, downsample, found, kind)
        return None if found is None else hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _nbytes(folder: Path) -> int:
    import zarr

    try:
        array: Any = zarr.open_array(folder, mode="r")
        return int(array.nbytes)
    except (OSError, ValueError):
        return 0
