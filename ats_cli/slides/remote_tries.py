"""One range of an object far away, asked for as often as it takes: servers are busy, and connections break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ats_cli.records import SlideError
from ats_cli.slides.remote_object import Answer, Passing, RemoteObject

IN_FLIGHT = 64
"""Requests at a time."""

TRIES, FIRST_PAUSE = 6, 0.1


async def persistent(
    thing: RemoteObject, start: int, stop: int, in_flight: asyncio.Semaphore, count: Callable[[int], None]
) -> Answer:
    """Bytes start to stop, after up to TRIES tries with longer and longer pauses. Raises SlideError after the last.

    `count` is told of all bytes received, in vain or not.
    """
    reason = ""
    for attempt in range(TRIES):
        if attempt:
            # Many were turned away at once: they shall not all come back at once.
            await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
        try:
            async with in_flight:
                answer = await thing.get(start, stop)
        except Passing as failure:
            count(failure.received)
            reason = failure.reason
            continue
        count(len(answer.data))
        if len(answer.data) == (min(-start, answer.size) if start < 0 else max(0, min(stop, answer.size) - start)):
            return answer
        reason = "the answer was cut short"
    raise SlideError(f"{thing.path.name}: could not be read from {thing.path.folders[0]} ({reason}). Try again later.")
