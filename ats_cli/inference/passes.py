"""Forward passes beside the reading: several at a time, each in one thread, their results in order.

A pass in one thread adds in one order. So what a slide's figures are does not depend on how many cores there are, nor
on what else they do; and where they are busy, no team of threads waits for its slowest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def one_thread_a_pass() -> None:
    """Leave the cores to `in_order`: for a process that is ours alone."""
    torch.set_num_threads(1)


class _OneThread:
    """Torch's threads are the process's: the first of calls that overlap sets them, the last one sets them back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._calls:
                self._before = torch.get_num_threads()
            self._calls += 1
            # In each call: of some builds of torch, the number is one of the thread that asks.
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                torch.set_num_threads(self._before)


_one_thread = _OneThread()


def in_one_thread_each() -> AbstractContextManager[None]:
    """`one_thread_a_pass` for a while, in a process that is not ours."""
    return _one_thread


def passes_at_a_time(device: torch.device, threads: int) -> int:
    """How many passes run beside the thread that reads; 0: in that thread, as there is no other core.

    Where torch has threads of its own, or on another device, one: both would be too many.
    """
    if device.type != "cpu" or torch.get_num_threads() > 1:
        return 1
    return threads if threads > 1 else 0


def in_order(function: Callable[[Item], Result], items: Iterable[Item], at_a_time: int) -> Iterator[Result]:
    """Yield function(item) for each item, in order; `at_a_time` of them run while further items are fetched."""
    if not at_a_time:
        yield from map(function, items)
        return
    under_way: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            for item in items:
                under_way.append(pool.submit(function, item))
                if len(under_way) > at_a_time:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


class Spent:
    """Seconds spent, by what on. Threads at the same thing at the same time all count."""

    def __init__(self, *names: str) -> None:
        self.seconds = dict.fromkeys(names, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        clock = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[name] += time.perf_counter() - clock
