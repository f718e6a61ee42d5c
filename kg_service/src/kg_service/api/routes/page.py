"""The inspection page: open to all, for it holds nothing of the graph; what it asks for needs a key as ever."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from kg_service.api.problems import described
from kg_service.web.page import content_security_policy, page

router = APIRouter(tags=["service"])


@router.get("/ui", response_class=HTMLResponse, responses=described(400))
async def ui() -> HTMLResponse:
    """A page for people: a caption, or an image of the graph, with its mentions, why each was found, and its neighbours."""
    headers = {
        "Content-Security-Policy": content_security_policy(),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return HTMLResponse(page(), headers=headers)
