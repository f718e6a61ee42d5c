"""What bounds connections before there is a request: how many are open, how long a head may take, and no body after a refusal."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from kg_service.config import Settings

_RESERVE = 256
"""Descriptors that are not for connections: graph store, vocabulary, arrays of snapshots, bodies on their way to the disk."""
_SAYS_EVERY_S = 10.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


@dataclass
class ConnectionLimits:
    """What all connections of a server share.

    Attributes:
        most: connections that may be open.
        head_timeout_s: seconds in which a request's head must have arrived.
        send_timeout_s: seconds after which a client that takes nothing of its answer is cut off.
        refused: connections that were one too many.
    """

    most: int
    head_timeout_s: float
    send_timeout_s: float
    refused: int = 0
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
    return ConnectionLimits(most, settings.head_timeout_s, settings.send_timeout_s)


class LimitedProtocol(H11Protocol):
    """uvicorn's on h11, within these limits. An idle connection between two requests is left to uvicorn's keep-alive."""

    def __init__(self, *arguments: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Answers 503 and closes where it is one too many; else waits for the first head."""
        if len(self.connections) >= self._limits.most:
            self._limits.refuse()
            self.transport = transport
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; what is no whole head yet has its deadline."""
        super().data_received(data)
        self._watch_head()

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
        self._head_timer = self.loop.call_later(self._limits.head_timeout_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class ClosingConnection(h11.Connection):
    """h11's, which closes after an answer that did not wait for the whole body, instead of reading on."""

    def send_with_data_passthrough(self, event: Any) -> Any:
        """As h11's; such an answer says Connection: close, upon which uvicorn closes."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            headers = [(name, value) for name, value in event.headers if name != b"connection"]
            event = h11.Response(
                status_code=event.status_code, headers=[*headers, (b"connection", b"close")], reason=event.reason
            )
        return super().send_with_data_passthrough(event)
