"""The disk cache of remote slides' headers. It is safe to delete at any time.

It has one file per object, named by a hash of URL (without query), size and version, with the header blocks as arrays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from ats_cli.paths import user_path

MOST_BYTES = 256 * 1024 * 1024
"""Size limit of the cache. Files that were not used for longest are deleted first."""

Key = tuple[str, int, str | None]
"""URL without query, size, version of the object."""


def cache_folder() -> Path:
    """Return the cache folder: ATS_CACHE, else the user's cache folder of the system."""
    import platformdirs

    given = os.environ.get("ATS_CACHE")
    return user_path(given) if given else platformdirs.user_cache_path("ats-cli", appauthor=False)


class HeaderCache:
    """The cache in a folder. It raises nothing: if the disk is full or read-only, slides are read without a cache."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder() / "headers"

    def load(self, key: Key) -> dict[int, bytes]:
        """Return an object's blocks by number; empty if it is not cached or has no version."""
        file = self._file(key)
        if file is None or not file.is_file():
            return {}
        try:
            with np.load(file, allow_pickle=False) as arrays:
                numbers, ends, data = arrays["numbers"], arrays["ends"], arrays["data"].tobytes()
            starts = [0, *ends.tolist()]
            blocks = {int(n): data[a:b] for n, a, b in zip(numbers, starts, ends.tolist(), strict=False)}
            if len(blocks) != len(ends) or starts[-1] != len(data):
                raise ValueError("the file is incomplete")
            os.utime(file)
        except Exception:  # a truncated or foreign file counts as not cached
            with contextlib.suppress(OSError):
                file.unlink()
            return {}
        return blocks

    def save(self, key: Key, blocks: dict[int, bytes]) -> None:
        file = self._file(key)
        if file is None:
            return
        numbers = np.fromiter(blocks, dtype=np.int64)
        ends = np.cumsum([len(block) for block in blocks.values()], dtype=np.int64)
        data = np.frombuffer(b"".join(blocks.values()), dtype=np.uint8)
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as part:
                try:
                    np.savez(part, numbers=numbers, ends=ends, data=data)
                    part.close()
                    Path(part.name).replace(file)
                except BaseException:
                    Path(part.name).unlink()
                    raise
            self._tidy()

    def _file(self, key: Key) -> Path | None:
        """Return the cache file of an object; None if it has no version, since it could change unnoticed."""
        if key[2] is None:
            return None
        return self._folder / (hashlib.sha256(repr(key).encode()).hexdigest()[:32] + ".npz")

    def _tidy(self) -> None:
        files = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > MOST_BYTES:
                file.unlink()
