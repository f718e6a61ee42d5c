"""Files that the pages load, from packages, each with a digest by which browsers keep it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a page loads."""

    content: bytes
    media_type: str
    digest: str


@cache
def asset_of(package: str, file: str, media_type: str) -> Asset:
    """The file of a package; `digest` changes with its content."""
    content = (files(package) / file).read_bytes()
    return Asset(content, media_type, hashlib.sha256(content).hexdigest()[:16])
