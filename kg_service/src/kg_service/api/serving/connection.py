"""Bodies on their way out: sent in parts, not copied between the matrix and the socket, and waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

Part = bytes | memoryview
"""What is sent; a memoryview is one of single bytes."""

_JOINED_BELOW = 1 << 19
"""Smaller bodies go as one part: a copy of so little costs less than a second send."""
_AWAITED_FROM = 1 << 15
"""Smaller bodies are not waited for: they fit into what may wait unsent, 64 KiB of each connection."""


class PartsResponse(Response):
    """An answer whose body is several parts, one after another; each is held until the socket has taken it.

    Attributes:
        length: bytes of the body.
    """

    def __init__(self, parts: Sequence[Part], media_type: str, headers: Mapping[str, str]) -> None:
        self.length = sum(len(part) for part in parts)
        super().__init__(None, media_type=media_type, headers={**headers, "content-length": str(self.length)})
        self._parts = [b"".join(parts)] if self.length < _JOINED_BELOW else parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
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
