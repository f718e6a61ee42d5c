"""The table of graph stores: a new one is a file, and a line here."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

from nbclip.errors import InvalidInput, NotFound

from kg_service.graph.store import Access, GraphStore, StoreKind

STORES: dict[str, str] = {
    "embedded": "kg_service.graph.embedded.store:STORE",
    **dict.fromkeys(("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"), "kg_service.graph.neo4j.store:STORE"),
}
"""By the scheme of its address: where its `StoreKind` is. Imported when it is needed: Neo4j's driver takes half a second."""

_FILES = (".sqlite", ".sqlite3", ".db", ".db3")
_HALF_A_SCHEME = re.compile(r"(?:neo4j|bolt)(?:\+s|\+ssc)?(?::/?|//)(?!/)", re.IGNORECASE)
_PORT = re.compile(r"[^/]*:")


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
        InvalidInput: the scheme is not known, the address is not complete, or it may be a server's as well as a file's.
        BrokenArtefact, Unavailable: as `open_embedded`.
    """
    return _kind_of(url).open(url, Access(user, password, mirror, bulk, read_only))


def probe(url: str, *, user: str, password: str) -> None:
    """Asks a store once whether it can be used: Neo4j for 3 s at most, and nothing is made there.

    Raises:
        WrongCredentials: the login is refused.
        InvalidInput, BrokenArtefact, Unavailable: as `open_store` and `GraphStore.check`.
    """
    _kind_of(url).probe(url, Access(user, password))


def store_file(url: str) -> Path | None:
    """Where on this machine the store at `url` is kept; None: nowhere."""
    return _kind_of(url).file(url)


def require_store(url: str) -> None:
    """Raises NotFound if `url` names a file that does not exist, which `open_store` would create."""
    path = store_file(url)
    if path is not None and not path.exists():
        raise NotFound(f"no graph store at {path}", hint="correct the path, or fill one: kg-service ingest FILE")


def _kind_of(url: str) -> StoreKind:
    scheme, separator, _ = url.partition("://")
    if separator and scheme not in STORES:
        known = ", ".join(f"{each}://" for each in STORES)
        more = "; Bolt's port is 7687 by default" if scheme.startswith("http") else ""
        raise InvalidInput(f"unknown kind of graph store: {_shown(url)!r:.200}", hint=f"known: a plain path, {known}{more}")
    if not separator:
        _refuse_server(url)
    kind: StoreKind = resolve_name(STORES[scheme if separator else "embedded"])
    return kind


def _refuse_server(path: str) -> None:
    """Raises InvalidInput where a plain path is more likely a server's address that lacks its scheme."""
    bare_name = "/" not in path and not path.lower().endswith(_FILES)
    half = _HALF_A_SCHEME.match(path)
    if (bare_name or half or _PORT.match(path)) and not Path(path).expanduser().exists():
        host = path[half.end() :] if half else path
        raise InvalidInput(
            f"{_shown(path)!r:.200} may be a server or a file",
            hint=f"say neo4j://{_shown(host)} for a server, ./{_shown(path)} for an SQLite file",
        )


def _shown(address: str) -> str:
    """The address without a password that somebody wrote into it."""
    return re.sub(r":[^:/@]*@", ":…@", address)
