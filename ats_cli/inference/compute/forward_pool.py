"""Forward passes in parallel with reading: several at a time, each in one thread, results in order.

A pass in one thread adds in one order, so the figures of a slide do not depend on the number of cores or their load.
Single-threaded passes also avoid waiting for the slowest of several threads on busy cores.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def set_one_thread_per_pass() -> None:
    """Make torch compute each pass in one thread, for a process that only predicts."""
    torch.set_num_threads(1)


class _OneThreadPerPass:
    """The number of torch's threads is global: the first of overlapping calls sets it, the last one restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = self._threads_before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._entered:
                self._threads_before = torch.get_num_threads()
            self._entered += 1
            # Set by every call: in some builds of torch the number belongs to the calling thread.
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                torch.set_num_threads(self._threads_before)


_one_thread_per_pass = _OneThreadPerPass()


def one_thread_per_pass() -> AbstractContextManager[None]:
    """Return a context manager for `set_one_thread_per_pass` that restores the number of threads afterwards."""
    return _one_thread_per_pass


def max_parallel_passes(device: torch.device, threads: int) -> int:
    """Return how many passes may run beside the reading thread; 0 to run them in that thread, on a single core.

    1 on other devices, and if torch itself uses several threads: more would compete for the same cores.
    """
    if device.type != "cpu" or torch.get_num_threads() > 1:
        return 1
    return threads if threads > 1 else 0


class ForwardPool:
    """Runs forward passes in threads while the calling thread reads the next inputs."""

    def __init__(self, max_parallel: int) -> None:
        self._max_parallel = max_parallel

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield function(item) for each item, in order. Items are fetched in the calling thread."""
        if not self._max_parallel:
            yield from map(function, items)
            return
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(self._max_parallel) as executor:
            try:
                for item in items:
                    pending.append(executor.submit(function, item))
                    if len(pending) > self._max_parallel:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
