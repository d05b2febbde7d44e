"""A web server on 127.0.0.1 that serves byte ranges, counts what it sends, and fails as it is told."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class RangeServer:
    """`files` by name. The next requests for ranges fail as `faults` say, one each: a status, like "500"; "drop",
    "short", "endless", "stall", "slow header", "slow", "elsewhere" (another range than the one asked for).

    With `token`, only requests with ?token=... are answered. `sent`: bytes of bodies. `promised`: the size that files
    are said to have. `encoding`: what bodies are said to be compressed by. Without `lengths`, no length is said. What
    lies in /moved/ is redirected to /folder/.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    etag: str | None = '"1"'
    ranges: bool = True
    token: str | None = None
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    promised: int | None = None
    encoding: str | None = None
    lengths: bool = True
    port: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, name: str, query: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/folder/{name}{query}"


@contextlib.contextmanager
def range_server(**options: object) -> Iterator[RangeServer]:
    state = RangeServer(**options)  # type: ignore[arg-type]

    class Handler(_Handler):
        server_state = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.closed.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: RangeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        state = self.server_state
        place = urlsplit(self.path)
        data = state.files.get(unquote(place.path).removeprefix("/folder/"))
        span = re.fullmatch(r"bytes=(\d*)-(\d+)", self.headers.get("Range", ""))
        with state.lock:
            state.requests.append(self.headers.get("Range", ""))
            fault = state.faults.pop(0) if state.faults and (span or not state.ranges) else None
        if place.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", "/folder/" + place.path.removeprefix("/moved/") + "?" + place.query)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault in ("stall", "slow header"):
            self._wait_for_ever(b"HTTP/1.1 200 OK\r\nX-Slow: " if fault == "slow header" else b"")
            return
        if fault == "drop":
            self.close_connection = True
            return
        if state.token is not None and f"token={state.token}" not in place.query:
            fault = "403"
        if fault is not None and fault.isdigit():
            self._answer(int(fault), b"no")
        elif data is None:
            self._answer(404, b"none")
        elif not span or not state.ranges:
            self._answer(200, data, fault=fault)
        elif int(span[1] or 0) >= len(data):
            self._answer(416, b"")
        else:
            stop = min(int(span[2]) + 1, len(data)) if span[1] else len(data)
            start = int(span[1]) if span[1] else max(0, len(data) - int(span[2]))
            part = data[start:stop]
            at = start + 1 if fault == "elsewhere" else start
            self._answer(206, part, f"bytes {at}-{at + len(part) - 1}/{state.promised or len(data)}", fault)

    def _answer(self, status: int, body: bytes, content_range: str | None = None, fault: str | None = None) -> None:
        state = self.server_state
        self.send_response(status)
        if fault == "endless" or not state.lengths:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(state.promised if state.promised and status == 200 else len(body)))
        if status == 429:
            self.send_header("Retry-After", "0")
        if state.encoding is not None and status < 300:
            self.send_header("Content-Encoding", state.encoding)
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        if state.etag is not None and status < 300:
            self.send_header("ETag", state.etag)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "slow":
            self._wait_for_ever(body[:1])
            return
        if fault == "short":
            body, self.close_connection = body[: len(body) // 2], True
        if fault == "endless":
            self._send_for_ever()
            return
        if status == 206:
            with state.lock:  # before it goes out: who has it may look here at once
                state.sent += len(body)
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def _wait_for_ever(self, byte: bytes) -> None:
        """Send what never makes an answer, a byte at a time, until all is over."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(byte)
                self.wfile.flush()
                if self.server_state.closed.wait(0.02):
                    return
                byte = byte[-1:]

    def _send_for_ever(self) -> None:
        """Send zeros until who asked hangs up: a gigabyte at most."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(1000):
                self.wfile.write(bytes(1_000_000))
                with self.server_state.lock:
                    self.server_state.sent += 1_000_000
