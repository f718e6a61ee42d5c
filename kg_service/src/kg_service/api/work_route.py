"""Routes that a training step waits for: key, body, work place, answer, and nothing that the framework looks up on the way.

FastAPI solves a tree of dependencies for each request, which takes longer than the similarities of a small batch. A route of this
class is in the schema like any other, and its endpoint gets what it needs from here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from kg_service.api.auth import require
from kg_service.api.body import json_body
from kg_service.api.serving.connection import PartsResponse
from kg_service.app.wiring import Wiring
from kg_service.snapshot import Snapshot, SnapshotFolder


class WorkRequest(Request):
    """A request that has a work place, with its whole body.

    Attributes:
        content: the body.
        held: what is entered here is left when the client has taken the answer, or is gone.
    """

    def __init__(self, scope: Scope, content: bytes, held: ExitStack) -> None:
        super().__init__(scope)
        self.content = content
        self.held = held

    @property
    def wiring(self) -> Wiring:
        """What the service stands on."""
        wiring: Wiring = self.app.state.wiring
        return wiring


async def with_snapshot(
    snapshots: SnapshotFolder, wanted: str | None, work: Callable[[Snapshot], PartsResponse], *, small: bool
) -> PartsResponse:
    """What `work` makes of the snapshot of this id, or of the current one.

    In a thread; but here, if the snapshot is open and the work is small: it takes less than the way to a thread and back.
    """
    opened = snapshots.opened(wanted) if small else None
    return work(opened) if opened else await run_in_threadpool(lambda: work(snapshots.open(wanted)))


class WorkRoute(APIRoute):
    """A route whose endpoint is `async (WorkRequest) -> PartsResponse`, and whose only dependencies are `require`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers: first the key, then the body, then a work place, held until the client has taken the answer."""
        keys, work = _keys(self), self.endpoint

        async def answer(request: Request) -> Response:
            for key in keys:
                await key(request)
            content = await json_body(request)
            with ExitStack() as held:
                held.enter_context(request.app.state.places.take())
                response: PartsResponse = await work(WorkRequest(request.scope, content, held))
                response.held = held.pop_all()
            return response

        return answer


def _keys(route: APIRoute) -> Sequence[require]:
    keys = [each.dependency for each in route.dependencies]
    if not all(isinstance(key, require) for key in keys):
        raise TypeError(f"{route.path} asks for more than a key, which a WorkRoute does not solve")
    return [key for key in keys if isinstance(key, require)]
