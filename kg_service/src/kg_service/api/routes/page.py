"""Inspection page and documentation: open to all, for they hold nothing of the graph; what they ask for needs a key as ever."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from nbclip.errors import NotFound
from starlette.responses import HTMLResponse

from kg_service.api.negotiation import text_of
from kg_service.api.problems import described
from kg_service.web import docs, page
from kg_service.web.assets import Asset

router = APIRouter(tags=["service"])

_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}


_PAGE = text_of(
    "text/html", "A page that loads its style and scripts from this service, and asks it for the rest", "<!doctype html>\n…"
)


@router.get("/ui", response_class=HTMLResponse, responses={200: _PAGE, **described(400)})
async def ui() -> HTMLResponse:
    """A page for people: a caption, or an image of the graph, with its mentions, why each was found, and the neighbours."""
    return HTMLResponse(page.page(), headers={**_HEADERS, "Content-Security-Policy": page.CONTENT_SECURITY_POLICY})


@router.get("/ui/{name}", include_in_schema=False)
async def ui_asset(name: str, if_none_match: Annotated[str, Header()] = "") -> Response:
    """What the page loads."""
    if name not in page.ASSETS:
        raise NotFound(f"no file {name!r:.80} of the page", hint="/ui is the page")
    return _sent(page.asset(name), if_none_match)


@router.get("/docs", include_in_schema=False)
async def documentation() -> HTMLResponse:
    """Every route with its schema and examples, to try out."""
    return HTMLResponse(docs.page(), headers={**_HEADERS, "Content-Security-Policy": docs.CONTENT_SECURITY_POLICY})


@router.get("/docs/{name}", include_in_schema=False)
async def asset(name: str, if_none_match: Annotated[str, Header()] = "") -> Response:
    """What the documentation loads."""
    if name not in docs.ASSETS:
        raise NotFound(f"no file {name!r:.80} of the documentation", hint="/docs is the page")
    return _sent(docs.asset(name), if_none_match)


def _sent(found: Asset, if_none_match: str) -> Response:
    """The file, or that the browser has it."""
    headers = {**_HEADERS, "ETag": f'"{found.digest}"'}
    if headers["ETag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
