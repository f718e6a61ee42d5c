"""HTTP/1.1 as it comes: uvicorn's protocol on httptools, with bounded heads, without upgrades, and refusals that are problems.

Requests that came before one that is refused are answered; the last of these answers ends the connection.

httptools (llhttp) is strict on framing: what has two lengths, a length and chunks, or a stray line end is no request.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import Any, Literal

import httptools
from nbclip.errors import InvalidInput, LimitExceeded, NBClipError
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kg_service.api.problems import problem
from kg_service.api.serving.request_log import REQUEST_ID, note_refusal
from kg_service.config import Settings

METRICS = "metrics"
"""Where the application's lifespan leaves its metrics for connections."""
HEAD_BYTES = 64 << 10
"""That a request's line and headers may have, or its trailers."""
_PIPELINED_AT_MOST = 16
"""Requests that wait for those before them, when no more is read."""
_PARSED_AT_ONCE = 4 << 10
"""Bytes between two looks at how many requests wait: the parser can't be stopped amid what it is given."""
_VERSIONS = ("1.0", "1.1")
_RTSP = frozenset(b"ANNOUNCE DESCRIBE FLUSH GET_PARAMETER PAUSE PLAY RECORD REDIRECT SETUP SET_PARAMETER SOURCE TEARDOWN".split())
"""Methods of RTSP, and of ICE, which llhttp reads too."""
_FRAMING = (b"content-length", b"transfer-encoding")


class Malformed(InvalidInput):
    """400: this is not an HTTP/1.1 request."""

    code, title, status = "malformed-request", "Not an HTTP/1.1 request", 400


class HeadTooLarge(LimitExceeded):
    """431: the request's line and headers have more bytes than are read."""

    code, title, status = "head-too-large", "Request line and headers too large", 431


class Flow(FlowControl):
    """uvicorn's; once it has stopped, nothing that waits for a body makes it read on."""

    _stopped = False

    def stop_reading(self) -> None:
        """Pauses, whoever resumes, until `read_on`."""
        self.pause_reading()
        self._stopped = True

    def read_on(self) -> None:
        """Ends `stop_reading`."""
        self._stopped = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """As uvicorn's."""
        if not self._stopped:
            super().resume_reading()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, for one connection.

    Attributes:
        settings: of the service.
        within: the part of a request that is being read; empty between two requests.
        refused: why what came is no request, once something such came.
        flow: what pauses and resumes the connection.
    """

    flow: Flow

    def __init__(self, *arguments: Any, settings: Settings, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.settings = settings
        self.within: Literal["", "head", "body"] = ""
        self.refused: NBClipError | None = None
        self._former = self.cycle
        self._held = b""
        self._head_bytes = self._barren_bytes = 0
        self._keeps_alive = True
        self._upgrades = self._reads_on = self._came_on = False

    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's."""
        super().connection_made(transport)
        self.flow = Flow(transport)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; bytes that go on without an end of head or trailers are refused before there is one, and what comes after
        many requests that wait is held until fewer do."""
        self._unset_keepalive_if_required()
        self._parse_held(self._held + data)

    def _parse_held(self, data: bytes) -> None:
        self._held, at = b"", 0
        while at < len(data) and self.refused is None:
            if len(self.pipeline) >= _PIPELINED_AT_MOST:
                self._held = data[at:]
                self.flow.stop_reading()
                return
            self._parse(data[at : at + _PARSED_AT_ONCE])
            at += _PARSED_AT_ONCE

    def on_response_complete(self) -> None:
        """As uvicorn's; one request fewer waits."""
        super().on_response_complete()
        if self._held and not self.transport.is_closing():
            self._parse_held(self._held)
            if not (self._held or self.refused):
                self.flow.read_on()

    def _parse(self, data: bytes) -> None:
        self._came_on = False
        try:
            self._feed(data)
            self._barren_bytes = 0 if self._came_on else self._barren_bytes + len(data)
            if self.within and self._barren_bytes > HEAD_BYTES:
                raise self._too_large()
        except (httptools.HttpParserError, HeadTooLarge):
            self.send_400_response("no request by HTTP/1.1 came")

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(data[upgrade.args[0] :])

    def _read_on(self, data: bytes) -> None:
        """Reads a request that would switch to another protocol to its end: a server may ignore that (RFC 9110, 7.8), and must
        not ignore the body that some clients send with it. The parser does, so another one begins at the body."""
        framing = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] in _FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self._reads_on = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
        self._reads_on = False
        self._feed(data)

    def on_message_begin(self) -> None:
        """As uvicorn's."""
        if not self._reads_on:
            super().on_message_begin()
            self.within, self._head_bytes, self._came_on = "head", 0, True

    def on_url(self, url: bytes) -> None:
        """As uvicorn's; raises HeadTooLarge."""
        if not self._reads_on:
            super().on_url(url)
            self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's, without trailers; raises HeadTooLarge, or Malformed for a coding that is not undone."""
        if self.within == "head" and not self._reads_on:
            super().on_header(name, value)
            self._count(len(name) + len(value))
            if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self.refused = Malformed(f"Transfer-Encoding {value!r:.80}", hint="send the body chunked, or with Content-Length")
                raise self.refused

    def _count(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > HEAD_BYTES:
            raise self._too_large()

    def _too_large(self) -> NBClipError:
        self.refused = HeadTooLarge("the request's line and headers are too long", hint=f"at most {HEAD_BYTES} bytes are allowed")
        return self.refused

    def on_headers_complete(self) -> None:
        """As uvicorn's; an answer that does not wait for the whole body is the connection's last. Raises Malformed for another
        version or protocol."""
        if not self._reads_on:
            self._check_protocol()
            self._upgrades = self.parser.should_upgrade()
            former = self.cycle
            super().on_headers_complete()
            self._former, self.within, self._came_on = former, "body", True
            self._keeps_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def _check_protocol(self) -> None:
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if version not in _VERSIONS or method in _RTSP:
            what = f"{method.decode('ascii')} by version {version}"
            self.refused = Malformed(f"{what} is not supported", hint="use HTTP/1.1")
            raise self.refused

    def on_body(self, body: bytes) -> None:
        """As uvicorn's."""
        super().on_body(body)
        self._came_on = True

    def on_message_complete(self) -> None:
        """As uvicorn's; after an answer that has not begun yet the connection goes on."""
        if self._upgrades:
            self._upgrades = False
            return
        super().on_message_complete()
        self.within, self._came_on = "", True
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive

    def shutdown(self) -> None:
        """As uvicorn's."""
        super().shutdown()
        self._keeps_alive = False

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, with a problem. Where whole requests came before, they are answered instead, and nothing else is read;
        an answer that has begun to a request that breaks off ends with the connection."""
        self.logger.warning(msg)
        self.refused = self.refused or Malformed(
            "this is not an HTTP/1.1 request", hint="check for a proxy in between, and that TLS is not used on a plain port"
        )
        self.flow.stop_reading()
        if self.within == "body" and self.pipeline:
            # The request that breaks off is the last of those that wait.
            self.pipeline.popleft()
            self.cycle, self.within = self._former, ""
        if self.is_idle():
            self.answer_last(self.refused)
        elif self.within != "body":
            self.cycle.keep_alive = False
        elif self.cycle.response_started:
            self.transport.abort()
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.answer_last(self.refused)

    def answer_last(self, error: NBClipError) -> None:
        """Refuses with a problem, and closes; logged and counted as requests are."""
        request_id = uuid.uuid4().hex
        self.transport.write(_as_last_answer(error, request_id, self.settings))
        self.transport.close()
        note_refusal(self.app_state.get(METRICS), request_id, error.status)


def _as_last_answer(error: NBClipError, request_id: str, settings: Settings) -> bytes:
    """The problem as HTTP/1.1."""
    response = problem(error, request_id, settings)
    response.headers[REQUEST_ID] = request_id
    line = b"HTTP/1.1 %d %s\r\n" % (error.status, HTTPStatus(error.status).phrase.encode())
    headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    return line + headers + b"connection: close\r\n\r\n" + bytes(response.body)
