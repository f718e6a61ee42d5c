"""Files for Neo4j Browser, which fetches them from a page of another origin: open to all, and they hold nothing of the graph."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from kg_service.web.browser import guide, saved_scripts, style


def neo4j_browser() -> ASGIApp:
    """An application to mount: `guide.md`, `style.grass` and `queries.zip`."""
    routes = [Route("/guide.md", _guide), Route("/style.grass", _style), Route("/queries.zip", _queries)]
    # Neo4j Browser sends headers of its own, by version, and so asks before whether it may. A router's refusals are problems as
    # those of all routes.
    return CORSMiddleware(Router(routes), allow_origins=["*"], allow_headers=["*"])


async def _guide(request: Request) -> Response:
    address = request.url.replace(path=request.scope["root_path"], query="")
    return PlainTextResponse(guide(str(address)), media_type="text/markdown")


async def _style(request: Request) -> Response:
    return PlainTextResponse(style())


async def _queries(request: Request) -> Response:
    return Response(saved_scripts(), media_type="application/zip")
