"""Authentication: `Authorization: Bearer KEY`, with scopes as dependencies of routes."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress

import structlog
from fastapi import Request
from fastapi.security import HTTPBearer
from nbclip.errors import BrokenArtefact, Busy, Forbidden, Unauthorized, Unavailable

from kg_service.app.keys import Key, Keyring, Scope
from kg_service.app.wiring import refuse_read_only
from kg_service.config import Settings

_KEYLESS = "local"
_ADDRESSES_AT_MOST = 4_096
_DESCRIPTION = "a key made by `kg-service keys add`; not needed on loopback without keys"


class FailedKeys:
    """Counts wrong keys by address and minute; forgets the oldest addresses first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()

    def note(self, address: str) -> None:
        """Counts one.

        Raises:
            Busy: this address has sent more in this minute than is allowed.
        """
        minute = address, int(time.monotonic() // 60)
        self._counts[minute] = self._counts.pop(minute, 0) + 1
        if len(self._counts) > _ADDRESSES_AT_MOST:
            self._counts.popitem(last=False)
        if self._counts[minute] > self._limit:
            raise Busy("too many wrong keys from this address", hint="try again in a minute")


class Guard:
    """Admits requests. If no keys file is named and none exists, everybody may do everything, which
    `refuse_open_bind` limits to this machine; once a keys file existed, a key is always needed."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.keys_path
        self._keyring = Keyring(self._path) if settings.keys_file or self._path.exists() else None
        self._failed = FailedKeys(settings.max_failed_keys)

    def check(self) -> None:
        """Raises Unavailable if keys can't be checked now."""
        if self._keyring is not None:
            self._find(self._keyring, "")

    def admit(self, secret: str | None, scope: Scope, address: str) -> str:
        """The name of the key that may do this.

        Raises:
            Unauthorized: no key or a wrong one.
            Forbidden: the key lacks the scope.
            Busy: too many wrong keys from this address.
            Unavailable: the keys file can't be read.
        """
        if self._keyring is None and self._path.exists():
            self._keyring = Keyring(self._path)
        if self._keyring is None:
            return _KEYLESS
        if secret is None:
            raise self._refusal(self._keyring, "no key", "send Authorization: Bearer KEY")
        key = self._find(self._keyring, secret)
        if key is None:
            self._failed.note(address)
            raise self._refusal(self._keyring, "wrong key", "kg-service keys list shows the names of the keys")
        if not key.allows(scope):
            raise Forbidden(f"the key {key.name} lacks the scope {scope}", hint=f"kg-service keys add NAME --scope {scope}")
        return key.name

    def _refusal(self, keyring: Keyring, message: str, hint: str) -> Unauthorized:
        """Where the last key was removed none can be sent."""
        with suppress(BrokenArtefact):
            if keyring.is_empty():
                return Unauthorized(f"{message}: none is left", hint="make one: kg-service keys add NAME --scope read")
        return Unauthorized(message, hint=hint)

    def _find(self, keyring: Keyring, secret: str) -> Key | None:
        try:
            return keyring.find(secret)
        except BrokenArtefact as error:
            structlog.get_logger().error("keys file unreadable", reason=str(error))
            raise Unavailable("keys can't be checked now", hint="the service's log says why") from error


def demand(request: Request, scope: Scope) -> None:
    """Notes the name of the request's key for the log; raises as `Guard.admit`."""
    guard: Guard = request.app.state.guard
    address = request.client.host if request.client else "unix socket"
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    request.state.key_name = guard.admit(secret.strip() or None if scheme.lower() == "bearer" else None, scope, address)


class require(HTTPBearer):  # noqa: N801 - it reads as a function where it is used
    """A dependency that lets only keys with this scope pass; in the schema the security scheme."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scheme_name=HTTPBearer.__name__, description=_DESCRIPTION, auto_error=False)
        self._scope = scope

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        """As `demand`; raises ReadOnly where it opens what a service that only reads does not do."""
        demand(request, self._scope)
        if self._scope != "read":
            refuse_read_only(request.app.state.settings)
