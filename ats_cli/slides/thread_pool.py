"""Run jobs in threads and yield their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T]], threads: int, ahead: int) -> Iterator[T]:
    """Yield the result of each job, in order. At most `ahead` jobs are submitted before the next result is used.

    With one thread, jobs run in the caller's thread.
    """
    if threads <= 1:
        for job in jobs:
            yield job()
        return
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(job))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
