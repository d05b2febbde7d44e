"""Views cached on disk between steps: a zarr group with one array a slide. It may be deleted at any time."""

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
VERSION = 2  # of the pixels of a view: raise it when reading changes, so that older caches are not used


class ViewCache:
    """Views (rows, cols, 3) uint8 by slide and scale, up to `max_bytes` before compression.

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

    def get(self, slide: LabelledSlide, downsample: float) -> NDArray[np.uint8] | None:
        """The view of a slide, or None if it is not cached."""
        import zarr

        key = self._key(slide, downsample)
        if key is None or not (folder := self.folder / key).is_dir():
            return None
        try:
            array: Any = zarr.open_array(folder, mode="r")
            view = np.asarray(array[:], np.uint8)
            # zarr reads a missing chunk as black. All chunks were written, the black ones too.
            return view if array.nchunks_initialized == array.nchunks else None
        except (OSError, ValueError, RuntimeError):
            return None

    def put(self, slide: LabelledSlide, downsample: float, view: NDArray[np.uint8]) -> None:
        """Cache a view, unless `max_bytes` would be exceeded."""
        import zarr

        key = self._key(slide, downsample)
        if key is None:
            return
        with self.lock:
            if self.bytes_used + view.nbytes > self.max_bytes:
                return
            self.bytes_used += view.nbytes
        folder = self.folder / key
        part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        try:
            chunks = (min(CHUNK_ROWS, view.shape[0]), view.shape[1], 3)
            array: Any = zarr.create_array(
                part, shape=view.shape, chunks=chunks, dtype=view.dtype, config={"write_empty_chunks": True}
            )
            array[:] = view
            part.rename(folder)
        except (OSError, ValueError):
            shutil.rmtree(part, ignore_errors=True)

    def delete(self) -> None:
        """Delete the cache."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _key(self, slide: LabelledSlide, downsample: float) -> str | None:
        """A hash of the slide's current files, its options and the scale; None if the files cannot be read."""
        if isinstance(slide.path, RemotePath):
            if slide.path not in self._remote:
                self._remote[slide.path] = fingerprint(slide.path)
            found = self._remote[slide.path]
        else:
            found = fingerprint(slide.path)
        facts = (VERSION, str(slide.path), slide.mpp, slide.opening, downsample, found)
        return None if found is None else hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _nbytes(folder: Path) -> int:
    import zarr

    try:
        array: Any = zarr.open_array(folder, mode="r")
        return int(array.nbytes)
    except (OSError, ValueError):
        return 0
