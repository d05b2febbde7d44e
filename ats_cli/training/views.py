"""Views kept on disk between steps: a zarr group with one array a slide. Safe to delete at any time."""

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
from ats_cli.slides.fingerprint import fingerprint
from ats_cli.training.data import LabelledSlide

CHUNK_ROWS = 1024
# Which pixels a view has of a slide: raise it when the reading of views changes, so that older ones are read anew.
READING = 2


class ViewCache:
    """Views (rows, cols, 3) uint8 by slide and scale, up to `most` bytes before compression.

    An array is written beside and renamed, so that one that is there is whole. A slide whose files have changed since
    is another one; the fingerprint of a slide far away is taken once. What cannot be read or written is as if it were
    not there: the view is then read from the slide.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self.lock, self.held = Lock(), 0
        self.remote: dict[AnyPath, Fingerprint | None] = {}
        with suppress(OSError):
            import zarr

            zarr.open_group(folder, mode="a")
            for array in folder.glob("*/zarr.json"):
                self.held += _nbytes(array.parent)

    def get(self, slide: LabelledSlide, downsample: float) -> NDArray[np.uint8] | None:
        """The view of a slide, None where it is not kept."""
        import zarr

        key = self._key(slide, downsample)
        if key is None or not (folder := self.folder / key).is_dir():
            return None
        try:
            array: Any = zarr.open_array(folder, mode="r")
            view = np.asarray(array[:], np.uint8)
            # A chunk that is not there is read as black; all were written, the black ones too.
            return view if array.nchunks_initialized == array.nchunks else None
        except (OSError, ValueError, RuntimeError):
            return None

    def put(self, slide: LabelledSlide, downsample: float, view: NDArray[np.uint8]) -> None:
        """Keep a view, where there is room for it."""
        import zarr

        key = self._key(slide, downsample)
        if key is None:
            return
        with self.lock:
            if self.held + view.nbytes > self.most:
                return
            self.held += view.nbytes
        folder = self.folder / key
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        try:
            chunks = (min(CHUNK_ROWS, view.shape[0]), view.shape[1], 3)
            array: Any = zarr.create_array(
                beside, shape=view.shape, chunks=chunks, dtype=view.dtype, config={"write_empty_chunks": True}
            )
            array[:] = view
            beside.rename(folder)
        except (OSError, ValueError):
            shutil.rmtree(beside, ignore_errors=True)

    def delete(self) -> None:
        """Remove it all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _key(self, slide: LabelledSlide, downsample: float) -> str | None:
        """What the view is of: the slide's files as they are now, and the scale. None where that cannot be known."""
        if isinstance(slide.path, RemotePath):
            if slide.path not in self.remote:
                self.remote[slide.path] = fingerprint(slide.path)
            found = self.remote[slide.path]
        else:
            found = fingerprint(slide.path)
        facts = (READING, str(slide.path), slide.mpp, sorted(slide.reading.items()), downsample, found)
        return None if found is None else hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _nbytes(folder: Path) -> int:
    import zarr

    try:
        array: Any = zarr.open_array(folder, mode="r")
        return int(array.nbytes)
    except (OSError, ValueError):
        return 0
