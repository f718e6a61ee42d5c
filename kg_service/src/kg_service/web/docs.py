"""The documentation page: Swagger UI from a package, without internet, and the policy that holds browsers to that."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from kg_service.web.assets import Asset, asset_of

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI styles its elements one by one, and has its icons in its style sheet."""
_SWAGGER_UI = "fastapi_swagger.resources"
ASSETS: Mapping[str, tuple[str, str, str]] = {
    "swagger-ui.js": (_SWAGGER_UI, "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (_SWAGGER_UI, "swagger-ui.css", "text/css"),
    "icon.png": (_SWAGGER_UI, "favicon-32x32.png", "image/png"),
    "start.js": ("kg_service.web", "docs.js", "text/javascript"),
}
"""What the page loads: package, file and media type, by name."""


@cache
def page() -> str:
    """The page's HTML."""
    return (files("kg_service.web") / "docs.html").read_text(encoding="utf-8")


def asset(name: str) -> Asset:
    """One of `ASSETS`."""
    return asset_of(*ASSETS[name])
