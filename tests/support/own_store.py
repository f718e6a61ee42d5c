"""A kind of store of its own, as somebody outside would write it: a folder a day, for those that have a login."""

from __future__ import annotations

from pathlib import Path

from kg_service.graph.embedded.store import open_embedded
from kg_service.graph.store import Access, GraphStore, StoreKind
from nbclip.errors import Unavailable


def _file(url: str) -> Path:
    return Path(url.removeprefix("day://")) / "graph.sqlite"


def _open(url: str, access: Access) -> GraphStore:
    if access.user == "nobody":
        raise Unavailable("this store does not know nobody")
    _file(url).parent.mkdir(exist_ok=True)
    return open_embedded(_file(url))


def _probe(url: str, access: Access) -> None:
    store = _open(url, access)
    store.check()
    store.close()


STORE = StoreKind(open=_open, probe=_probe, file=_file)
