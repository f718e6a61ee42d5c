"""The knowledge graph and where it is kept."""

from __future__ import annotations

from pathlib import Path

from nbclip_shared.errors import InvalidInput

from kg_service.graph.embedded import open_embedded
from kg_service.graph.store import GraphStore

__all__ = ["open_store"]


def open_store(url: str) -> GraphStore:
    """Opens the store that `url` names: `embedded:///absolute/path`, `embedded://relative/path`, or a plain path.

    Raises:
        InvalidInput: the scheme is not known, or there is no path.
        BrokenArtefact, Unavailable: as `open_embedded`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "embedded", url
    if scheme != "embedded":
        raise InvalidInput(f"unknown kind of graph store: {url!r}", hint="known: embedded:///PATH, or a plain path")
    if not rest:
        raise InvalidInput(f"no path in the graph store's address: {url!r}", hint="such as embedded:///var/lib/nbclip/graph.db")
    return open_embedded(Path(rest).expanduser())
