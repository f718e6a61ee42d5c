"""The inspection page, one file that loads nothing from other servers, and the policy that enforces this."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files


@cache
def page() -> str:
    """The page's HTML."""
    return (files("kg_service.web") / "page.html").read_text(encoding="utf-8")


@cache
def content_security_policy() -> str:
    """A policy for `page`: its own script and style, by hash, and requests to the service that it came from."""
    hashed = {tag: _hash(re.search(f"<{tag}>(.*?)</{tag}>", page(), re.DOTALL)) for tag in ("script", "style")}
    allowed = "; ".join(f"{tag}-src '{digest}'" for tag, digest in hashed.items())
    return f"default-src 'none'; {allowed}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def _hash(element: re.Match[str] | None) -> str:
    content = element[1] if element else ""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
