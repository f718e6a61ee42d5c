"""A connection within limits: how long it may take to ask and to read, and an end that lets a client read its answer."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import structlog
from nbclip.errors import Unavailable

from kg_service.api.serving.connection_limits import ConnectionLimits
from kg_service.api.serving.http1 import HttpProtocol
from kg_service.api.serving.lingering import LingeringTransport

_SENT_AHEAD_BYTES = 1 << 20
_log = structlog.get_logger()


class Protocol(HttpProtocol):
    """HTTP/1.1 within these limits. An idle connection between two requests is left to uvicorn's keep-alive."""

    def __init__(self, *arguments: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*arguments, settings=limits.settings, **options)
        self._limits = limits
        self._lingering: LingeringTransport | None = None
        self._parting = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._taken = 0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Answers 503 and closes where it is one too many; else waits for the first head."""
        self._lingering = LingeringTransport(transport, self.loop, self._still_sends)
        if len(self.connections) >= self._limits.most:
            self._parting = self._limits.refuse()
            self.transport = cast(asyncio.Transport, self._lingering)
            self.answer_last(Unavailable("too many connections are open", hint="try again in a second, or close idle ones"))
            return
        _widen(transport)
        super().connection_made(cast(asyncio.Transport, self._lingering))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._stop_waiting()
        if self._look:
            self._look.cancel()
        if self._lingering:
            self._lingering.lost()
        if self._parting:
            self._limits.parting -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; what is no whole head yet has its deadline, and what comes after the last answer is dropped."""
        if self._lingering and self._lingering.lingers:
            self._lingering.drop(len(data))
            return
        super().data_received(data)
        if not self.within and self.is_idle() and not self.transport.is_closing():
            self._await_head()

    def on_message_begin(self) -> None:
        """As uvicorn's; the head has begun."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """As uvicorn's; the head is there."""
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's; no head is waited for any more, only answers to what came before."""
        self._stop_waiting()
        super().send_400_response(msg)

    def _still_sends(self) -> bool:
        """Whether the client is within a request, or sends what is none, or a request that is not read."""
        return bool(self._parting or self.within or self.refused)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.settings.head_timeout_s, self._end_late_head)

    def _end_late_head(self) -> None:
        self._head_timer = None
        if self.is_idle():
            self.transport.abort()
        else:  # It came while the request before it is still being answered.
            self._await_head()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def pause_writing(self) -> None:
        """As uvicorn's: the client takes less than there is."""
        super().pause_writing()
        self._watch()

    def on_response_complete(self) -> None:
        """As uvicorn's; the end of the answer may still wait to be sent."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        waiting, sent = self._waiting()
        if waiting and self._look is None:
            self._taken = sent - waiting
            self._look = self.loop.call_later(self.settings.send_timeout_s, self._close_unless_taken)

    def _close_unless_taken(self) -> None:
        self._look = None
        waiting, sent = self._waiting()
        if waiting and sent - waiting == self._taken:
            _log.warning("closed: the client does not read", seconds=self.settings.send_timeout_s, bytes=waiting)
            self.transport.abort()
        else:
            self._watch()

    def _waiting(self) -> tuple[int, int]:
        """Bytes that wait to be sent, and bytes that were handed over to be sent."""
        return self.transport.get_write_buffer_size(), self._lingering.sent if self._lingering else 0


def _widen(transport: asyncio.Transport) -> None:
    """Lets a unix socket take a mebibyte before its client reads, if the system allows; a TCP socket finds its own size."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AHEAD_BYTES)
