"""Where a route is for the client that asks: of the version that it asks, under the path that a proxy shows the service at."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

API = "v1"
"""The newest version. Paths without a version, as 0.1.0 had them, are aliases of it."""


def path_in_app(scope: Scope) -> str:
    """The path of a request without the proxy's prefix, whether or not the proxy takes it away."""
    path, prefix = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def under_prefix(request: Request, path: str) -> str:
    """Where the client finds what has no version."""
    return f"{request.scope.get('root_path', '')}{path}"


def beside(request: Request, path: str) -> str:
    """Where the client finds another route of the version that it asked."""
    version = f"/{API}" if path_in_app(request.scope).startswith(f"/{API}/") else ""
    return under_prefix(request, f"{version}{path}")
