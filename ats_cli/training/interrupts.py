"""Ctrl-C and SIGTERM end a training between two steps, where its state is complete."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Seconds within which further signals belong to the first: a launcher repeats what a terminal has sent to all.
REPEATED = 1.0


@dataclass
class StopRequest:
    """Whether the training is to stop after the present step. `on_wait` is called, in a thread of its own, where that
    takes more than a second."""

    on_wait: Callable[[], None]
    first: float | None = None
    timer: threading.Timer | None = None

    @property
    def made(self) -> bool:
        return self.first is not None

    def on_signal(self, *_: object) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = now
            self.timer = threading.Timer(REPEATED, self.on_wait)
            self.timer.daemon = True
            self.timer.start()
        elif now - self.first > REPEATED:
            raise KeyboardInterrupt


@contextmanager
def stop_requests(on_wait: Callable[[], None]) -> Iterator[StopRequest]:
    """Within the block a signal raises nothing but makes the request; a second one, of a person who does not want to
    wait, is a KeyboardInterrupt at once. Signals that are ignored stay so."""
    request = StopRequest(on_wait)
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    found = {number: signal.getsignal(number) for number in numbers}
    handlers = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in handlers:
            signal.signal(number, request.on_signal)
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if request.timer is not None:
            request.timer.cancel()
