"""A local stand-in of the hub: the few endpoints that fetching a repository of models asks for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repositories: dict[str, Path], revisions: tuple[str, ...] = ("main", "v1")) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as repositories, by owner/name; gives the endpoint and the list of requests so far."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._respond(with_body=False)

        def do_GET(self) -> None:
            self._respond(with_body=True)

        def _respond(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            requests.append(f"{self.command} {path}")
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
                return self._describe(match[1], match[2] or "revision", match[3] or "main", with_body)
            if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self._file(match[1], match[2], match[3], with_body)
            return self._error(404, "EntryNotFound")

        def _describe(self, name: str, what: str, revision: str, with_body: bool) -> None:
            folder = repositories.get(name)
            if folder is None:
                return self._error(401, "RepoNotFound")
            if revision not in (*revisions, COMMIT):
                return self._error(404, "RevisionNotFound")
            files = sorted(p for p in folder.rglob("*") if p.is_file())
            if what == "tree":
                body = [
                    {"type": "file", "path": str(p.relative_to(folder)), "size": p.stat().st_size, "oid": _etag(p)}
                    for p in files
                ]
                return self._send(json.dumps(body).encode(), with_body, {"Content-Type": "application/json"})
            said = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0}
            siblings = [{"rfilename": str(p.relative_to(folder))} for p in files]
            body_bytes = json.dumps({**said, "siblings": siblings}).encode()
            return self._send(body_bytes, with_body, {"Content-Type": "application/json"})

        def _file(self, name: str, revision: str, file: str, with_body: bool) -> None:
            folder = repositories.get(name)
            if folder is None:
                return self._error(401, "RepoNotFound")
            path = folder / file
            if not path.is_file() or revision not in (*revisions, COMMIT):
                return self._error(404, "EntryNotFound")
            headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            return self._send(path.read_bytes(), with_body, headers)

        def _send(self, body: bytes, with_body: bool, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def _error(self, status: int, code: str) -> None:
            self._send(b"{}", self.command == "GET", {"X-Error-Code": code, "Content-Type": "application/json"}, status)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


def _etag(path: Path) -> str:
    """The id of a git blob, as the hub has it for small files."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
