"""Bodies on their way out: sent in parts, not copied between the matrix and the socket, and taken in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from kg_service.api.serving.connection_limits import LimitedProtocol

Part = bytes | memoryview
"""What is sent; a memoryview is one of single bytes."""

_JOINED_BELOW = 1 << 19
"""Smaller bodies go as one part: a copy of so little costs less than a second send."""
_AWAITED_FROM = 1 << 15
"""Smaller bodies are not waited for: they fit into what may wait unsent, 64 KiB of each connection."""
_log = structlog.get_logger()


class PartsResponse(Response):
    """An answer whose body is several parts, one after another; each is held until the socket has taken it.

    Attributes:
        length: bytes of the body.
        held: left when the client has taken the answer, or is gone.
    """

    held: ExitStack | None = None

    def __init__(self, parts: Sequence[Part], media_type: str, headers: Mapping[str, str]) -> None:
        self.length = sum(len(part) for part in parts)
        super().__init__(None, media_type=media_type, headers={**headers, "content-length": str(self.length)})
        self._parts = [b"".join(parts)] if self.length < _JOINED_BELOW else parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        with self.held or nullcontext():
            await self._send(send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for number, part in enumerate(self._parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(self._parts)})


def until_taken(send: Send) -> Send:
    """`send` that returns from the end of a large body once the socket has taken all but what flow control lets wait."""

    async def send_until_taken(message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and len(message.get("body", b"")) >= _AWAITED_FROM:
            await send({**message, "more_body": True})
            # The server waits for what it has before it sends more, were it nothing.
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return send_until_taken


class Protocol(LimitedProtocol):
    """uvicorn's on h11, within limits, closed where nobody reads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._taken = 0
        self._look: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """As uvicorn's: the client takes less than there is."""
        super().pause_writing()
        self._watch()

    def on_response_complete(self) -> None:
        """As uvicorn's; the end of the answer may still wait to be sent."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._look is None:
            self._taken = self.conn.sent - waiting
            self._look = self.loop.call_later(self._limits.settings.send_timeout_s, self._close_unless_taken)

    def _close_unless_taken(self) -> None:
        self._look = None
        waiting = self.transport.get_write_buffer_size()
        if waiting and self.conn.sent - waiting == self._taken:
            _log.warning("closed: the client does not read", seconds=self._limits.settings.send_timeout_s, bytes=waiting)
            self.transport.abort()
        else:
            self._watch()
