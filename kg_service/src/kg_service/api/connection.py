"""Bodies on their way out: sent in parts, and not copied between the matrix and the socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import h11
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kg_service.api.connection_limits import ClosingConnection, LimitedProtocol

Part = bytes | memoryview
"""What is sent; a memoryview is one of single bytes."""

_JOINED_BELOW = 1 << 19
"""Smaller bodies go as one part: a copy of so little costs less than a second send."""


class PartsResponse(Response):
    """An answer whose body is several parts, one after another; each is held until the socket has taken it."""

    def __init__(self, parts: Sequence[Part], media_type: str, headers: Mapping[str, str]) -> None:
        length = sum(len(part) for part in parts)
        super().__init__(None, media_type=media_type, headers={**headers, "content-length": str(length)})
        self._parts = [b"".join(parts)] if length < _JOINED_BELOW else parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for number, part in enumerate(self._parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(self._parts)})


class Protocol(LimitedProtocol):
    """uvicorn's on h11, within limits, whose connection passes bodies on as they are."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = _Connection(h11.SERVER, self.conn._max_incomplete_event_size)


class _Connection(ClosingConnection):
    def send(self, event: Any) -> Any:
        """As h11's, without the copy that joining a single part is."""
        parts = self.send_with_data_passthrough(event)
        return parts[0] if parts and len(parts) == 1 else None if parts is None else b"".join(parts)
