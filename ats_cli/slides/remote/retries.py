"""Requests with retries and time limits, since servers are busy and connections break."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import Answer, RemoteObject, TemporaryFailure, expected
from ats_cli.slides.remote.path import RemotePath

IN_FLIGHT = 64
"""Most concurrent requests per slide."""

TRIES, FIRST_PAUSE, LONGEST_PAUSE = 6, 0.2, 30.0
REQUEST_SECONDS, SLIDE_SECONDS, LEAST_BYTES_PER_SECOND = 60.0, 300.0, 1000.0
"""Time limits of a request and of all requests of a slide. LEAST_BYTES_PER_SECOND bytes received add a second."""

T = TypeVar("T")


class TimeBudget:
    """The time left for all requests of one slide. Use it in one event loop.

    Only time spent waiting for answers counts, so a slide can stay open for hours.
    """

    def __init__(self) -> None:
        self._waiting, self._since, self._waited, self._received = 0, 0.0, 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        self._waiting += 1
        if self._waiting == 1:
            self._since = time.monotonic()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._waited += time.monotonic() - self._since

    def count(self, received: int) -> None:
        self._received += received

    @property
    def left(self) -> float:
        now = time.monotonic() - self._since if self._waiting else 0.0
        return SLIDE_SECONDS + self._received / LEAST_BYTES_PER_SECOND - self._waited - now


def time_limit(count: int) -> float:
    """Return the time limit of a request for `count` bytes, in seconds."""
    return REQUEST_SECONDS + count / LEAST_BYTES_PER_SECOND


async def get_with_retries(
    remote: RemoteObject,
    start: int,
    stop: int,
    in_flight: asyncio.Semaphore,
    time_budget: TimeBudget,
    count: Callable[[int], None],
) -> Answer:
    """Return bytes [start, stop) of an object, with retries. `count` is called with all bytes received."""

    async def request() -> Answer:
        try:
            async with in_flight:
                with time_budget.waiting():
                    limit = min(time_limit(stop - start), time_budget.left)
                    answer = await asyncio.wait_for(remote.get(start, stop), limit)
        except TemporaryFailure as failure:
            time_budget.count(failure.received)
            count(failure.received)
            raise
        except TimeoutError:
            raise TemporaryFailure("it took too long") from None
        time_budget.count(len(answer.data))
        count(len(answer.data))
        if len(answer.data) != expected(start, stop, answer.size):
            raise TemporaryFailure("the answer was cut short")
        return answer

    return await with_retries(remote.path, request, time_budget)


async def with_retries(path: RemotePath, request: Callable[[], Awaitable[T]], time_budget: TimeBudget) -> T:
    """Call `request` up to TRIES times, with increasing pauses. Raises SlideError after the last try."""
    attempt, failure = 0, TemporaryFailure("it took too long")
    while attempt < TRIES and time_budget.left > 0:
        if attempt:
            # Random pauses, since many requests may have been refused together.
            pause = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            await asyncio.sleep(max(pause, min(failure.pause, LONGEST_PAUSE)))
        try:
            return await request()
        except TemporaryFailure as error:
            failure = error
        attempt += 1
    raise failure.final or SlideError(f"could not be read from {path.folders[0]} ({failure.reason}). Try again later.")
