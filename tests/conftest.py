"""One thread for torch: the nets here are tiny, and more threads than idle cores only wait for each other.

And no worker processes but where a test asks for them: each takes seconds to import torch."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ATS_PROCESSES", "0")

# Tests that a shell started in the background, and the processes that they start, would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches and configuration are those of the test, not of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ATS_CACHE", str(folder))
    monkeypatch.setenv("ATS_CONFIG", str(folder / "config"))
    return folder
