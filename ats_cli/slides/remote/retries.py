"""One request, made as often as it takes and waited for as long as is sensible: servers are busy, connections break."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from ats_cli.errors import SlideError
from ats_cli.slides.remote.answer import Answer, Passing, RemoteObject, expected
from ats_cli.slides.remote.path import RemotePath

IN_FLIGHT = 64
"""Requests at a time."""

TRIES, FIRST_PAUSE, LONGEST_PAUSE = 6, 0.2, 30.0
REQUEST_SECONDS, SLIDE_SECONDS, SLOWEST = 60.0, 300.0, 1000.0
"""A request, and all those of one slide, may take so long, and a second more for every SLOWEST bytes."""

T = TypeVar("T")


class Patience:
    """The time that is left for one slide's server, all its requests together. Belongs to one event loop.

    Only time in which an answer is waited for counts, so that a slide may stay open for hours.
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
        return SLIDE_SECONDS + self._received / SLOWEST - self._waited - now


def time_limit(count: int) -> float:
    """The seconds that a request for `count` bytes may take."""
    return REQUEST_SECONDS + count / SLOWEST


async def persistent(
    thing: RemoteObject,
    start: int,
    stop: int,
    in_flight: asyncio.Semaphore,
    patience: Patience,
    count: Callable[[int], None],
) -> Answer:
    """Bytes start to stop, by `tried`. `count` is called with the number of all bytes received, in vain or not."""

    async def once() -> Answer:
        try:
            async with in_flight:
                with patience.waiting():
                    limit = min(time_limit(stop - start), patience.left)
                    answer = await asyncio.wait_for(thing.get(start, stop), limit)
        except Passing as failure:
            patience.count(failure.received)
            count(failure.received)
            raise
        except TimeoutError:
            raise Passing("it took too long") from None
        patience.count(len(answer.data))
        count(len(answer.data))
        if len(answer.data) != expected(start, stop, answer.size):
            raise Passing("the answer was cut short")
        return answer

    return await tried(thing.path, once, patience)


async def tried(path: RemotePath, once: Callable[[], Awaitable[T]], patience: Patience) -> T:
    """What `once` gives, after up to TRIES tries with longer and longer pauses. Raises SlideError after the last."""
    attempt, failure = 0, Passing("it took too long")
    while attempt < TRIES and patience.left > 0:
        if attempt:
            # Many were turned away at once: they shall not all come back at once.
            pause = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
            await asyncio.sleep(max(pause, min(failure.pause, LONGEST_PAUSE)))
        try:
            return await once()
        except Passing as error:
            failure = error
        attempt += 1
    raise failure.final or SlideError(f"could not be read from {path.folders[0]} ({failure.reason}). Try again later.")
