"""The inspection page, which loads nothing from other servers, and the policy that enforces this."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from kg_service.web.assets import Asset, asset_of

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Scripts and style are files of this service; pictures are fetched with the key, and drawn."""
_SCRIPT, _STYLE = "text/javascript", "text/css"
ASSETS: Mapping[str, str] = {
    "page.css": _STYLE,
    **dict.fromkeys(
        (
            *("page.js", "dom.js", "service.js", "theme.js"),
            *("captions.js", "explanation.js", "neighbourhood.js", "drawing.js", "dagre.js", "matrix.js"),
            *("doubts.js", "jobs.js", "pictures.js", "search.js"),
        ),
        _SCRIPT,
    ),
}
"""What the page loads, files of `ui/`: media type by name. `page.js` is its start."""
DAGRE_SHA256 = "b0ddaf4af1417bec9bd89373a3a3987f081727d6cc6d95fc40dbf85a19bdf3b0"  # pragma: allowlist secret
"""Of `dagre.js`, which is `dist/dagre.esm.js` of npm's @dagrejs/dagre 3.1.3 (MIT)."""


@cache
def page() -> str:
    """The page's HTML."""
    return (files("kg_service.web") / "ui" / "page.html").read_text(encoding="utf-8")


def asset(name: str) -> Asset:
    """One of `ASSETS`."""
    return asset_of("kg_service.web", f"ui/{name}", ASSETS[name])
