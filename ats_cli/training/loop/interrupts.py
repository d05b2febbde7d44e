"""Ctrl-C and SIGTERM end a training between two steps, when its state is complete."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

REPEATED = 1.0  # seconds within which a signal is a repetition of the first: launchers forward a terminal's Ctrl-C


@dataclass
class StopRequest:
    """Whether the training is to stop after the current step.

    `on_wait`: called in a thread of its own if the step takes longer than REPEATED.
    """

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
    """Within the block, a first signal makes the request and a later one raises KeyboardInterrupt.

    Signals that are ignored stay ignored. In other threads than the main one signals are not handled.
    """
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
