"""The knowledge graph and where it is kept."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from nbclip.errors import InvalidInput, NotFound

from kg_service.graph.embedded.store import open_embedded
from kg_service.graph.store import GraphStore

__all__ = ["open_store", "probe", "require_store"]

_NEO4J_SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


def open_store(
    url: str,
    *,
    user: str = "neo4j",
    password: str = "",
    mirror: Path = Path("data/mirror"),
    bulk: bool = False,
    read_only: bool = False,
) -> GraphStore:
    """Opens the store that `url` names.

    Args:
        url: `embedded:///absolute/path`, `embedded://relative/path`, a plain path, or `neo4j://HOST[:PORT][/DATABASE]` (also
            bolt, and +s or +ssc for TLS). A Neo4j server is asked when the store is first used.
        user: login of a Neo4j server; empty for a server without.
        password: its password.
        mirror: folder of the local copy of a Neo4j graph, through which the whole graph is read.
        bulk: for bulk work, which waits for a server that restarts; a request is told to come back instead.
        read_only: a Neo4j database is left as it is: no constraint is made and no empty graph begun; `write`, `delete_image`
            and `read_graph`, which signs, refuse.

    Raises:
        InvalidInput: the scheme is not known, or the address is not complete.
        BrokenArtefact, Unavailable: as `open_embedded`.
    """
    if _is_neo4j(url):
        from kg_service.graph.neo4j.store import open_neo4j

        return open_neo4j(url, user=user, password=password, mirror=mirror, bulk=bulk, read_only=read_only)
    return open_embedded(_embedded_path(url))


def probe(url: str, *, user: str, password: str) -> None:
    """Asks a store once whether it can be used: Neo4j for 3 s at most, and nothing is made there.

    Raises:
        WrongCredentials: the login is refused.
        InvalidInput, BrokenArtefact, Unavailable: as `open_store` and `GraphStore.check`.
    """
    if _is_neo4j(url):
        from kg_service.graph.neo4j.store import try_login

        try_login(url, user=user, password=password)
    else:
        with closing(open_embedded(_embedded_path(url))) as store:
            store.check()


def require_store(url: str) -> None:
    """Raises NotFound where `url` names a file that is not there, which `open_store` would make."""
    if not _is_neo4j(url) and not (path := _embedded_path(url)).exists():
        raise NotFound(f"no graph store at {path}", hint="correct the path, or fill one: kg-service ingest FILE")


def _is_neo4j(url: str) -> bool:
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme in _NEO4J_SCHEMES


def _embedded_path(url: str) -> Path:
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "embedded", url
    if scheme != "embedded":
        raise InvalidInput(
            f"unknown kind of graph store: {url!r}", hint="known: embedded:///PATH, neo4j://HOST:PORT, or a plain path"
        )
    if not rest:
        raise InvalidInput(f"no path in the graph store's address: {url!r}", hint="such as embedded:///var/lib/nbclip/graph.db")
    return Path(rest).expanduser()
