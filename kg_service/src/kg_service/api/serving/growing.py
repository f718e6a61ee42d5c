"""A body that is sent while it is made: its bytes become final in order, in a thread that seldom needs Python's lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Tell = Callable[[memoryview, int], None]
"""To be told of a body, and of how many of its first bytes are final."""


class Growing:
    """How much of a body is final: told by the thread that fills it, awaited by the event loop."""

    def __init__(self, fill: Callable[[Tell], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._body, self._final = memoryview(b""), 0
        self._filling = asyncio.ensure_future(run_in_threadpool(fill, self._tell))
        self._filling.add_done_callback(lambda _: self._changed.set())

    def _tell(self, body: memoryview, final: int) -> None:
        self._loop.call_soon_threadsafe(self._note, body, final)

    def _note(self, body: memoryview, final: int) -> None:
        self._body, self._final = body, final
        self._changed.set()

    async def beyond(self, sent: int) -> tuple[memoryview, int]:
        """The body, and how many of its bytes are final once more are than were sent; raises what filling it raised."""
        while self._final <= sent:
            if self._filling.done():
                self._filling.result()
                raise RuntimeError(f"the body ended at {self._final} bytes")
            self._changed.clear()
            await self._changed.wait()
        return self._body, self._final

    async def ended(self) -> None:
        """Returns when the thread has done its work, well or not."""
        await asyncio.wait([self._filling])


class GrowingResponse(Response):
    """An answer whose body is sent as it grows. It is not over before the thread is, even if the client is gone."""

    def __init__(self, growing: Growing, length: int, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(None, media_type=media_type, headers={**headers, "content-length": str(length)})
        self._growing = growing
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            sent = 0
            while sent < self._length:
                body, final = await self._growing.beyond(sent)
                await send({"type": "http.response.body", "body": body[sent:final], "more_body": final < self._length})
                sent = final
        finally:
            await self._growing.ended()
