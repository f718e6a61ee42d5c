"""Where a route is for the client that asks: of the version that it asks, under the path that a proxy shows the service at."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

API = "v1"
"""The newest version. Paths without a version, as 0.1.0 had them, are aliases of it."""


class UnderPrefix:
    """ASGI middleware: gives every path the prefix `root_path`, as ASGI has it, whether or not the proxy took it away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes all on."""
        if scope["type"] == "http" and scope["root_path"] and not scope["path"].startswith(f"{scope['root_path']}/"):
            scope["path"] = scope["root_path"] + ("/" if scope["path"] == scope["root_path"] else scope["path"])
        await self._app(scope, receive, send)


def path_in_app(scope: Scope) -> str:
    """The path of a request without the proxy's prefix."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")))


def under_prefix(request: Request, path: str) -> str:
    """Where the client finds what has no version."""
    return f"{request.scope.get('root_path', '')}{path}"


def beside(request: Request, path: str) -> str:
    """Where the client finds another route of the version that it asked."""
    version = f"/{API}" if path_in_app(request.scope).startswith(f"/{API}/") else ""
    return under_prefix(request, f"{version}{path}")
