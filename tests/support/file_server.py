"""A web server of files with ranges and versions, as object stores and nginx have them, which can be made to fail."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """A running server.

    Attributes:
        url: where it is.
        files: content by name.
        asked: method, path and range of each request.
        headers: those of each request.
        failing: what befalls requests for ranges, by their number from 0: a status, or `drop` (half of it, then the end).
        status: that of every answer, if it is given.
        ranges: whether it gives ranges.
        redirect: a query with which each request without one is sent on.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    failing: dict[int, int | str] = field(default_factory=dict)
    status: int | None = None
    ranges: bool = True
    redirect: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def bytes_sent(self, name: str) -> int:
        """Bytes that were asked for of a file."""
        spans = (span.removeprefix("bytes=").split("-") for method, path, span in self.asked if path == f"/{name}" and span)
        return sum(int(last) - int(first) + 1 for first, last in spans)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, with_content: bool) -> None:
        served, span = self.files, self.headers.get("Range")
        with served.lock:
            served.asked.append((self.command, self.path, span))
            served.headers.append(dict(self.headers))
            number = sum(1 for _, _, each in served.asked if each) - 1 if span else -1
        failing = served.failing.get(number)
        path, _, query = self.path.partition("?")
        content = served.files.get(path.removeprefix("/"))
        if served.redirect and not query:
            return self._send(302, b"", {"Location": f"{self.path}?{served.redirect}"})
        if status := served.status or (failing if isinstance(failing, int) else None):
            return self._send(status, b"no")
        if path.endswith("/"):
            return self._send(200, self._listing(path), {"Content-Type": "text/html"})
        if content is None:
            return self._send(404, b"nothing here")
        version = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"'}
        if span and served.ranges:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", span).groups())
            if first >= len(content):
                return self._send(416, b"")
            part = content[first : last + 1]
            version["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
            return self._send(206, part, version, half=failing == "drop")
        return self._send(200, content, version, with_content=with_content)

    def _listing(self, folder: str) -> bytes:
        names = (name.removeprefix(folder.removeprefix("/")) for name in self.files.files)
        return "".join(f'<a href="{name}">{name}</a>' for name in names if "/" not in name).encode()

    def _send(self, status, content, headers=(), *, with_content=True, half=False) -> None:
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET" and with_content:
            self.wfile.write(content[: len(content) // 2] if half else content)
        if half:
            self.close_connection = True


@contextmanager
def serving_files() -> Iterator[FileServer]:
    """A server on a free port of this machine."""
    files = FileServer()
    handler = type("Handler", (_Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        files.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()
