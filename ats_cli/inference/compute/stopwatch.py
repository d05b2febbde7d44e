"""Seconds spent in each stage of a prediction."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("view", "attention", "read", "features")


class Stopwatch:
    """Adds up seconds by stage. Threads in the same stage at the same time all count.

    seconds: stage -> seconds so far, for each of `STAGES`.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time spent inside the `with` block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start
