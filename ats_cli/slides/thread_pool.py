"""Work done in threads, a little ahead of who asks for it, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T]], threads: int, ahead: int) -> Iterator[T]:
    """Yield the result of each job, in order, at most `ahead` of them begun beyond the one asked for.

    With one thread, everything is done in the caller's: it has, as a rule, others of its own.
    """
    if threads <= 1:
        for job in jobs:
            yield job()
        return
    begun: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                begun.append(pool.submit(job))
                if len(begun) > ahead:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
