"""h11's state of a connection, with what this service needs: bodies without a copy, and an end after a refusal."""

from __future__ import annotations

from typing import Any

import h11

HEAD_BYTES = 64 << 10
"""That a request's line and headers may have."""


class Connection(h11.Connection):
    """A server's side of a connection.

    Attributes:
        sent: bytes that were handed over to be sent.
        refused: the status that fits what came and was no request; 0 while there was nothing such.
    """

    sent = 0
    refused = 0

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES)

    def next_event(self) -> Any:
        """As h11's."""
        try:
            return super().next_event()
        except h11.RemoteProtocolError as error:
            self.refused = error.error_status_hint
            raise

    def send(self, event: Any) -> Any:
        """As h11's, without the copy that joining a single part is."""
        parts = self.send_with_data_passthrough(event)
        self.sent += sum(map(len, parts or ()))
        return parts[0] if parts and len(parts) == 1 else None if parts is None else b"".join(parts)

    def send_with_data_passthrough(self, event: Any) -> Any:
        """As h11's; an answer that did not wait for the whole body says Connection: close, upon which uvicorn closes."""
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            headers = [(name, value) for name, value in event.headers if name != b"connection"]
            event = h11.Response(
                status_code=event.status_code, headers=[*headers, (b"connection", b"close")], reason=event.reason
            )
        return super().send_with_data_passthrough(event)
