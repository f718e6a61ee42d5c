"""Keys: who may do what. A key is shown once; the file holds its SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound, os_reason
from nbclip.schemas.base import message_of
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kg_service.config import Settings
from kg_service.storage.locks import locked
from kg_service.storage.replacement import write_file

Scope = Literal["read", "ingest", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "nbkg_"
_PATIENCE_S = 10.0
"""For another command that writes keys, which takes milliseconds."""


class Key(BaseModel):
    """A key as the file holds it; `admin` includes the other scopes, `ingest` does not include `read`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def allows(self, scope: Scope) -> bool:
        """Whether the key has the scope."""
        return scope in self.scopes or "admin" in self.scopes


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a file held when it had this size and time of change."""

    stamp: tuple[int, int, int]
    keys: tuple[Key, ...]


class Keyring:
    """The keys of a file, read again when the file changes, so that a key is added or withdrawn without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: _Read | None = None

    def find(self, secret: str) -> Key | None:
        """The key with this secret, compared in constant time with every key, or None.

        Raises:
            BrokenArtefact: the file is damaged or gone.
        """
        digest = _digest(secret).encode()
        found = None
        for key in self._keys():
            if hmac.compare_digest(key.sha256.encode(), digest):
                found = key
        return found

    def is_empty(self) -> bool:
        """Whether the file holds no key, so that nobody is let in; raises as `find`."""
        return not self._keys()

    def _keys(self) -> tuple[Key, ...]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise BrokenArtefact(f"the keys file {self._path} can't be read", hint="restore it") from error
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._held is None or self._held.stamp != stamp:
            self._held = _Read(stamp, read_keys(self._path))
        return self._held.keys


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        BrokenArtefact: it is no keys file.
    """
    try:
        return _KeyFile.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise BrokenArtefact(f"can't read the keys: {os_reason(error)}", hint="check the path and its permissions") from error
    except ValidationError as error:
        what = message_of(error.errors()[0])
        raise BrokenArtefact(
            f"{path} is not a keys file: {what}", hint="make one: kg-service keys add NAME --scope read"
        ) from error


def add_key(path: Path, name: str, scopes: Sequence[str]) -> str:
    """Makes a key, adds it to the file (mode 0600, made if missing) and returns its secret, which is stored nowhere.

    Raises:
        Conflict: the file has a key of this name.
        InvalidInput: the name or the scopes can't be used.
        Unavailable: another command holds the file.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    try:
        key = Key.model_validate({"name": name, "scopes": scopes, "sha256": _digest(secret)})
    except ValidationError as error:
        raise InvalidInput(
            f"not a key: {message_of(error.errors()[0])}",
            hint=f"a name of letters, digits, . _ -; scopes: {', '.join(SCOPES)}",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    # Read and written under one lock: of two commands at once neither loses the other's key.
    with locked(path.parent, _PATIENCE_S, name=f".{path.name}.lock"):
        held = read_keys(path) if path.exists() else ()
        if name in {key.name for key in held}:
            raise Conflict(f"{path} has a key called {name}", hint="choose another name; the old key stays valid until removed")
        _write_keys(path, (*held, key))
    return secret


def remove_key(path: Path, name: str) -> int:
    """Withdraws a key, and returns how many are left; a running service refuses it from its next request on.

    Without the last one the file stays, and with it the service stays closed.

    Raises:
        NotFound: the file has no key of this name.
        BrokenArtefact: it is no keys file.
        Unavailable: another command holds the file.
    """
    if not path.exists():
        raise _no_such_key(path, name)
    with locked(path.parent, _PATIENCE_S, name=f".{path.name}.lock"):
        held = read_keys(path)
        kept = tuple(key for key in held if key.name != name)
        if len(kept) == len(held):
            raise _no_such_key(path, name)
        _write_keys(path, kept)
    return len(kept)


def _no_such_key(path: Path, name: str) -> NotFound:
    return NotFound(f"{path} has no key called {name!r:.80}", hint="kg-service keys list")


def _write_keys(path: Path, keys: tuple[Key, ...]) -> None:
    write_file(path, _KeyFile(keys=keys).model_dump_json(indent=1).encode() + b"\n")


def refuse_open_bind(settings: Settings) -> None:
    """Checks that a service without keys can be reached from this machine alone.

    Raises:
        InvalidInput: it would listen to others without a key, or the keys file that is set is missing or empty.
        BrokenArtefact: the keys file is damaged.
    """
    path = settings.keys_path
    hint = "make a key: kg-service keys add NAME --scope read"
    if path.exists():
        if not read_keys(path):
            raise InvalidInput(f"the keys file {path} holds no key", hint=hint)
    elif settings.keys_file is not None:
        raise InvalidInput(f"no keys file {path}", hint=hint)
    elif settings.uds is None and not _is_loopback(settings.host):
        raise InvalidInput(
            f"refusing to listen on {settings.host} without a key",
            hint="make one: kg-service keys add NAME --scope read; or listen on 127.0.0.1 or a unix socket",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
