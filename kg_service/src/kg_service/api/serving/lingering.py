"""A close in two steps (RFC 9112, 9.6): what a client still sends is read for a while; it finds the answer, not a reset."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

_LINGERS_S = 5.0
_LINGERS_BYTES = 64 << 20


class LingeringTransport:
    """A connection's transport, whose `close` ends what is sent at once, and what is received in time.

    A closed socket answers what comes later, or was not read yet, with a reset, upon which the client may lose an answer that it
    has not read. So the protocol hands on to `drop` what comes after `close`; the end is when the client ends, when it
    sent more than 64 MiB, or after five seconds.

    Args:
        transport: of the connection.
        loop: the event loop.
        still_sends: whether the client may send more of what is no longer read; if not, `close` is the transport's own.

    Attributes:
        sent: bytes that were handed over to be sent.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, still_sends: Callable[[], bool]) -> None:
        self._transport = transport
        self._loop = loop
        self._still_sends = still_sends
        self._end: asyncio.TimerHandle | None = None
        self._dropped = 0
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes | memoryview) -> None:
        """As the transport's; nothing once it is closing."""
        if not self.is_closing():
            self.sent += len(data)
            self._transport.write(data)

    @property
    def lingers(self) -> bool:
        """Whether what comes is to be dropped."""
        return self._end is not None

    def is_closing(self) -> bool:
        """Whether `close` was called, or the connection is lost."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """Sends what waits to be sent, and closes."""
        if self.is_closing():
            return
        if not self._still_sends():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # The client has reset the connection, so nobody reads.
            self._transport.close()
            return
        self._end = self._loop.call_later(_LINGERS_S, self._transport.close)
        self._transport.resume_reading()

    def drop(self, count: int) -> None:
        """Counts bytes that came after `close`."""
        self._dropped += count
        if self._dropped > _LINGERS_BYTES:
            self._transport.close()

    def lost(self) -> None:
        """The connection has ended."""
        if self._end is not None:
            self._end.cancel()
