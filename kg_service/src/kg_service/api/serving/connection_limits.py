"""What bounds connections before there is a request: how many are open, how long a head may take, what is no request, and no body
after a refusal."""

from __future__ import annotations

import asyncio
import resource
import time
import uuid
from dataclasses import dataclass
from typing import Any, cast

import h11
import structlog
from nbclip.errors import InvalidInput, LimitExceeded, NBClipError
from uvicorn.protocols.http.h11_impl import H11Protocol

from kg_service.api.problems import problem
from kg_service.api.serving.h11_connection import HEAD_BYTES, Connection
from kg_service.api.serving.lingering import LingeringTransport
from kg_service.config import Settings

_RESERVE = 256
"""Descriptors that are not for connections: graph store, vocabulary, arrays of snapshots, bodies on their way to the disk."""
_PARTING_AT_MOST = 64
_SAYS_EVERY_S = 10.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


@dataclass
class ConnectionLimits:
    """What all connections of a server share.

    Attributes:
        settings: what is set for each.
        most: connections that may be open.
        refused: connections that were one too many.
        parting: of these, connections that are still read so that the client finds its answer.
    """

    settings: Settings
    most: int
    refused: int = 0
    parting: int = 0
    _said_at: float | None = None

    def refuse(self) -> None:
        """Counts a connection that is one too many; the log says so at most every ten seconds."""
        self.refused += 1
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= _SAYS_EVERY_S:
            self._said_at = now
            structlog.get_logger().warning("too many connections", open=self.most, refused=self.refused)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """As set, and never so many connections that no descriptor is left for files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = settings.max_connections
    if descriptors != resource.RLIM_INFINITY:
        most = min(most, max(descriptors - _RESERVE, descriptors // 4))
    return ConnectionLimits(settings, most)


class Malformed(InvalidInput):
    """400: what came is no request by HTTP/1.1."""

    code, title, status = "malformed-request", "No request by HTTP/1.1", 400


class HeadTooLarge(LimitExceeded):
    """431: the request's line and headers have more bytes than are read."""

    code, title, status = "head-too-large", "Request line and headers too large", 431


class LimitedProtocol(H11Protocol):
    """uvicorn's on h11, within these limits. An idle connection between two requests is left to uvicorn's keep-alive."""

    def __init__(self, *arguments: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._lingering: LingeringTransport | None = None
        self._parting = False
        self.conn: Connection = Connection()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Answers 503 and closes where it is one too many; else waits for the first head."""
        self._lingering = LingeringTransport(transport, self.loop, self._still_sends)
        if len(self.connections) >= self._limits.most:
            self._limits.refuse()
            self._parting = self._limits.parting < _PARTING_AT_MOST
            self._limits.parting += self._parting
            self.transport = cast(asyncio.Transport, self._lingering)
            self.transport.write(_FULL)
            self.transport.close()
            return
        super().connection_made(cast(asyncio.Transport, self._lingering))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._stop_waiting()
        if self._lingering:
            self._lingering.lost()
        self._limits.parting -= self._parting
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; what is no whole head yet has its deadline, and what comes after the last answer is dropped."""
        if self._lingering and self._lingering.lingers:
            self._lingering.drop(len(data))
            return
        super().data_received(data)
        self._watch_head()

    def _still_sends(self) -> bool:
        """Whether the client is within a request, or sends what is none, or a request that nobody reads."""
        return self._parting or self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, with a problem; a request that is being answered is not answered twice."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._answer(self._refusal())
        self.transport.close()

    def _refusal(self) -> NBClipError:
        if self.conn.refused == 431:
            return HeadTooLarge("the request's line and headers are too long", hint=f"{HEAD_BYTES} bytes are read")
        return Malformed("what came is no request by HTTP/1.1", hint="is a proxy in between, or is TLS spoken to a plain port?")

    def _answer(self, error: NBClipError) -> None:
        response = problem(error, uuid.uuid4().hex, self._limits.settings)
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=response.status_code, headers=headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))

    def on_response_complete(self) -> None:
        """As uvicorn's; the next head may have begun already."""
        super().on_response_complete()
        self._watch_head()

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head_timer is None and self.conn.trailing_data[0]:
            self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.settings.head_timeout_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
