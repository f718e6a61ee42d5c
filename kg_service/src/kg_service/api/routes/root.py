"""The way in: `/` leads people to the page, and names the routes for programs."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from nbclip.schemas.service import Entrance
from starlette.responses import RedirectResponse

from kg_service.api.body import answer
from kg_service.api.negotiation import JSON, choose
from kg_service.api.paths import API, under_prefix
from kg_service.api.problems import described

router = APIRouter(tags=["service"])

_LINKS = {"documentation": "/docs", "schema": "/openapi.json", "page": "/ui", "alive": "/livez", "ready": "/readyz"}


@router.get(
    "/",
    response_model=Entrance,
    responses={307: {"description": "redirects clients that accept text/html to the page"}, **described(400, 406)},
)
def entrance(request: Request) -> Response:
    """The routes, and where the documentation is."""
    vary = {"Vary": "Accept"}
    if choose(request.headers.get("accept", "*/*"), (JSON, "text/html")) != JSON:
        return RedirectResponse(under_prefix(request, "/ui"), headers=vary)
    found = Entrance(
        name="nbclip-kg-service",
        version=request.app.version,
        api=API,
        links={name: under_prefix(request, path) for name, path in _LINKS.items()},
        routes={
            f"{method.upper()} {under_prefix(request, path)}": operation["description"].partition("\n")[0]
            for path, methods in request.app.openapi()["paths"].items()
            for method, operation in methods.items()
        },
    )
    return answer(found, headers=vary)
