"""The address of a Neo4j database, and who asks there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from nbclip.errors import InvalidInput

_FORM = "neo4j://[USER@]HOST[:PORT][/DATABASE]"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and who asks; `user` is empty for a server without authentication."""

    url: str
    database: str
    user: str
    password: str


def parse_address(url: str, user: str, password: str) -> Address:
    """Reads an address of `_FORM`, or with bolt, and +s or +ssc for TLS.

    Raises:
        InvalidInput: it has another form, a password stands in it, or there is none at all.
    """
    parts = _parted(url)
    if parts.password is not None:
        raise InvalidInput("a password in the graph store's address ends up in logs", hint="give it as KG_STORE_PASSWORD")
    if not parts.hostname:
        raise InvalidInput(f"no host in the graph store's address: {url!r}", hint="such as neo4j://localhost:7687")
    user = parts.username or user
    if user and not password:
        raise InvalidInput(f"no password for {url}", hint="KG_STORE_PASSWORD, or KG_STORE_USER= for a server without logins")
    location = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Address(location, parts.path.strip("/") or "neo4j", user, password)


def _parted(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        whole = parts.port != 0 and not parts.query and not parts.fragment and "/" not in parts.path.strip("/")
    except ValueError:
        whole = False
    if not whole or any(character.isspace() for character in url):
        # Not the address itself, which may hold a password.
        raise InvalidInput("can't read the graph store's address", hint=f"it has the form {_FORM}")
    return parts
