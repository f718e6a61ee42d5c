"""Routes that a training step waits for: key, body, work place, answer, and nothing that a framework looks up on the way.

FastAPI finds the route, enters its stacks and solves its dependencies anew for each request, which takes longer than the
similarities of a small batch. A route of this class is in the schema as any other, and `Shortcut` goes to it past all that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from kg_service.api.auth import require
from kg_service.api.body import json_body
from kg_service.api.paths import path_in_app
from kg_service.api.serving.connection import PartsResponse
from kg_service.app.wiring import Wiring
from kg_service.snapshot import Snapshot, SnapshotFolder
from kg_service.tracing import stage


class WorkRequest(Request):
    """A request that has a work place, with its whole body.

    Attributes:
        content: the body.
        held: what is entered here is left when the client has taken the answer, or is gone.
    """

    content: bytes
    held: ExitStack

    @property
    def wiring(self) -> Wiring:
        """What the service stands on."""
        wiring: Wiring = self.app.state.wiring
        return wiring


class WorkRoute(APIRoute):
    """A route whose endpoint is `async (WorkRequest) -> Response`, and whose only dependencies are `require`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._keys = [each.dependency for each in self.dependencies if isinstance(each.dependency, require)]
        if len(self._keys) < len(self.dependencies):
            raise TypeError(f"{self.path} asks for more than a key, which a WorkRoute does not solve")

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers: first the key, then the body, then a work place, held until the client has taken the answer."""
        request = WorkRequest(scope, receive)
        for key in self._keys:
            await key(request)
        request.content = await json_body(request)
        with ExitStack() as request.held:
            request.held.enter_context(request.app.state.places.take())
            response: Response = await self.endpoint(request)
            await response(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The same for FastAPI, which sends what a route returns."""

        async def later(_: Request) -> Response:
            return _Later(self.work)

        return later


class _Later(Response):
    """All that there is to do, done when the answer is asked for."""

    def __init__(self, work: ASGIApp) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._work(scope, receive, send)


class Shortcut:
    """ASGI middleware: hands what is sent to a WorkRoute's path straight to it."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], prefixes: Sequence[str]) -> None:
        self._app = app
        works = [route for route in routes if isinstance(route, WorkRoute) and route.methods == {"POST"}]
        self._works = {f"{prefix}{route.path}": route for route in works for prefix in prefixes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the route, or as the application."""
        route = self._works.get(path_in_app(scope)) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
        else:
            scope["route"] = route
            await route.work(scope, receive, send)


async def opened(snapshots: SnapshotFolder, wanted: str | None) -> Snapshot:
    """The snapshot of this id, or the current one: at once if it is open, or from a thread that opens it."""
    with stage("read snapshot"):
        snapshot = snapshots.opened(wanted)
        return await run_in_threadpool(snapshots.open, wanted) if snapshot is None else snapshot


async def worked(snapshot: Snapshot, work: Callable[[], PartsResponse], *, kind: Hashable) -> PartsResponse:
    """What `work` returns: from a thread, or from here if it takes less than the way to a thread and back.

    The first of a kind may compile kernels and make vectors, which takes seconds: that is always a thread's.

    Args:
        snapshot: what it works on.
        work: what is done.
        kind: all that decides which kernels and vectors the work needs; None where it is not small.
    """
    if kind is not None and kind in snapshot.warm:
        return work()
    return await run_in_threadpool(_work_and_warm, snapshot, work, kind)


def _work_and_warm(snapshot: Snapshot, work: Callable[[], PartsResponse], kind: Hashable) -> PartsResponse:
    response = work()
    if kind is not None:
        snapshot.warm.add(kind)
    return response
